"""A connection that swallows what is sent is noticed however long a call has been waiting, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.wire import keepalive
from maia.wire.channels import open_channel
from maia.wire.errors import UnavailableError
from maia.wire.server import Hosted, running
from maia.wire.status import translated

EVERY_S = 1.0
MAKE = generation_pb2.GenerateImagesRequest()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "KEEPALIVE_S", EVERY_S)
    monkeypatch.setattr(keepalive, "KEEPALIVE_TIMEOUT_S", 1.0)


class Slow(generation_pb2_grpc.GenerationServiceServicer):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.hung_up = asyncio.Event()

    @override
    async def GenerateImages(
        self, request: generation_pb2.GenerateImagesRequest, context: object
    ) -> generation_pb2.GenerateImagesResponse:
        self.asked.set()
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.hung_up.set()
            raise
        return generation_pb2.GenerateImagesResponse()

    @override
    async def GetGenerator(
        self, request: generation_pb2.GetGeneratorRequest, context: object
    ) -> generation_pb2.GetGeneratorResponse:
        raise NotImplementedError


class Pipe:
    """Passes on what comes, or swallows it and takes no other connection."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.swallows = False
        self.connections = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.swallows:
            writer.close()
            return
        host, port = self._target.split(":")
        there, back = await asyncio.open_connection(host, int(port))
        with suppress(asyncio.CancelledError):  # asyncio would tell of it
            await asyncio.gather(self._copy(reader, back), self._copy(there, writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                if not self.swallows:
                    writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def lines() -> AsyncIterator[tuple[Slow, Pipe, generation_pb2_grpc.GenerationServiceAsyncStub]]:
    """A server, what connects it, and its client."""
    slow = Slow()
    service = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"]
    add = generation_pb2_grpc.add_GenerationServiceServicer_to_server
    async with running([Hosted(service, add, slow)]) as server:
        pipe = Pipe(server.address)
        async with pipe.open() as address, open_channel(address) as channel:
            yield slow, pipe, generation_pb2_grpc.GenerationServiceStub(channel)


async def test_a_long_call_over_a_connection_that_holds_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "client_keepalive", tuple)  # the server's own pings would pardon the client's
    async with lines() as (slow, pipe, stub):
        call = stub.GenerateImages(MAKE, timeout=15)
        await slow.asked.wait()
        await asyncio.sleep(7 * EVERY_S)  # a server that minds pings ends the connection after the third
        slow.answer.set()
        await call
        assert pipe.connections == 1


async def test_a_connection_that_swallows_is_given_up_by_both_sides_after_a_long_call() -> None:
    async with lines() as (slow, pipe, stub):
        call = stub.GenerateImages(MAKE, timeout=15)
        await slow.asked.wait()
        await asyncio.sleep(4 * EVERY_S)  # the pings that gRPC sends by itself would be used up
        pipe.swallows = True
        with pytest.raises(UnavailableError), translated(server="server"):
            await call
        await asyncio.wait_for(slow.hung_up.wait(), 30)
