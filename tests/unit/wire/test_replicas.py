"""Two replicas of a server behind one channel: each gets its turn, one dies, one is drained."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from tests.unit.wire.test_server_process import Process, started
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.wire.channels import open_channel, wait_until_serving
from maia.wire.errors import DeadlineExceededError, InvalidRequestError, OverloadedError, UnavailableError
from maia.wire.replicas import ReplicatedChannel
from maia.wire.server import Hosted, running
from maia.wire.status import translated

Replica = tuple[Process, str]
ASK = generation_pb2.GetGeneratorRequest()
MAKE = generation_pb2.GenerateImagesRequest()


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(started("20")) for _ in range(2)]


@pytest.fixture
async def stub(replicas: list[Replica]) -> AsyncIterator[generation_pb2_grpc.GenerationServiceAsyncStub]:
    async with open_channel(",".join(address for _, address in replicas)) as channel:
        await wait_until_serving(channel, server="both", timeout_s=20)
        yield generation_pb2_grpc.GenerationServiceStub(channel)


async def answered(stub: generation_pb2_grpc.GenerationServiceAsyncStub, calls: int) -> Counter[int]:
    """Make calls one after the other; return how many each process answered."""
    return Counter([int((await stub.GetGenerator(ASK, timeout=20)).revision) for _ in range(calls)])


async def both_serve(stub: generation_pb2_grpc.GenerationServiceAsyncStub, replicas: list[Replica]) -> None:
    """Wait until calls go to both: the first that serves gets all until the second does."""
    async with asyncio.timeout(20):
        while len(await answered(stub, 2)) < len(replicas):
            pass


async def test_each_replica_gets_its_turn(
    stub: generation_pb2_grpc.GenerationServiceAsyncStub, replicas: list[Replica]
) -> None:
    await both_serve(stub, replicas)
    assert await answered(stub, 20) == {process.pid: 10 for process, _ in replicas}


async def test_a_replica_that_is_killed_costs_its_calls_one_retry(
    stub: generation_pb2_grpc.GenerationServiceAsyncStub, replicas: list[Replica]
) -> None:
    await both_serve(stub, replicas)
    (killed, _), (other, _) = replicas
    calls = [stub.GenerateImages(MAKE, timeout=30) for _ in range(4)]
    await asyncio.sleep(0.3)  # two of them at each
    killed.kill()
    assert await asyncio.gather(*calls) == [generation_pb2.GenerateImagesResponse()] * 4
    assert await answered(stub, 6) == {other.pid: 6}
    _, log = await stop(other)
    assert log.count(b"/GenerateImages") == 4


async def test_a_replica_that_is_drained_costs_nothing(
    stub: generation_pb2_grpc.GenerationServiceAsyncStub, replicas: list[Replica]
) -> None:
    await both_serve(stub, replicas)
    (drained, _), (other, _) = replicas
    slow = [stub.GenerateImages(MAKE, timeout=30) for _ in range(4)]
    await asyncio.sleep(0.3)
    drained.send_signal(signal.SIGTERM)
    while drained.returncode is None:
        await answered(stub, 5)
        await asyncio.sleep(0)
    assert await asyncio.gather(*slow) == [generation_pb2.GenerateImagesResponse()] * 4
    assert drained.returncode == 0
    assert await answered(stub, 6) == {other.pid: 6}
    logs = [(await stop(process))[1] for process in (drained, other)]
    assert [log.count(b"/GenerateImages") for log in logs] == [2, 2]


async def test_a_replica_that_comes_back_is_asked_again(replicas: list[Replica]) -> None:
    (first, address), (_, other) = replicas
    async with open_channel(f"{address},{other}") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await both_serve(stub, replicas)
        await stop(first)
        await answered(stub, 4)
        async with started("20", "--listen", address) as (again, _):
            async with asyncio.timeout(20):
                while again.pid not in await answered(stub, 2):
                    pass
            assert (await answered(stub, 6))[again.pid] == 3


async def test_a_server_with_a_client_that_watches_its_health_drains_at_once(replicas: list[Replica]) -> None:
    """Its own watch must not hold a server for as long as calls in flight may take."""
    (process, address), (_, other) = replicas
    async with open_channel(f"{address},{other}") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await both_serve(stub, replicas)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0  # less than the 20 s that it was started with


async def test_no_replica_serves_is_an_error_or_the_deadline() -> None:
    async with open_channel("127.0.0.1:1,127.0.0.1:2") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with pytest.raises(UnavailableError, match="refused"), translated(server="server"):
            await stub.GetGenerator(ASK, timeout=20)
        with pytest.raises(DeadlineExceededError), translated(server="server"):
            await stub.GetGenerator(ASK, timeout=0.2, wait_for_ready=True)
        with pytest.raises(UnavailableError, match=r"both was not ready within 0\.2 s"):
            await wait_until_serving(channel, server="both", timeout_s=0.2)


async def test_replicas_may_be_of_several_kinds(tmp_path: Path) -> None:
    socket = f"unix:{tmp_path}/s.sock"
    async with started("5", "--listen", socket) as one, started("5") as two:
        port = two[1].rpartition(":")[2]
        async with open_channel(f"{socket},localhost:{port}") as channel:
            stub = generation_pb2_grpc.GenerationServiceStub(channel)
            await both_serve(stub, [one, two])
            assert await answered(stub, 6) == {one[0].pid: 3, two[0].pid: 3}


async def test_a_call_that_is_hung_up_is_cancelled_at_the_replica(
    stub: generation_pb2_grpc.GenerationServiceAsyncStub, replicas: list[Replica]
) -> None:
    call = stub.GenerateImages(MAKE, timeout=30)
    await asyncio.sleep(0.3)
    call.cancel()
    assert await call.code() is grpc.StatusCode.CANCELLED
    logs = [(await stop(process))[1] for process, _ in replicas]
    assert b"CANCELLED" in b"".join(logs)


class Full(generation_pb2_grpc.GenerationServiceServicer):
    """Has no room, or room again once it was asked so often."""

    def __init__(self, retry_after_s: float, *, times: int = 1000, reason: str | None = None) -> None:
        self.asked = 0
        self._error = OverloadedError("full", retry_after_s=retry_after_s, reason=reason)
        self._times = times

    @override
    async def GetGenerator(
        self, request: generation_pb2.GetGeneratorRequest, context: object
    ) -> generation_pb2.GetGeneratorResponse:
        self.asked += 1
        if self.asked <= self._times:
            raise self._error
        return generation_pb2.GetGeneratorResponse()

    @override
    async def GenerateImages(
        self, request: generation_pb2.GenerateImagesRequest, context: object
    ) -> generation_pb2.GenerateImagesResponse:
        raise NotImplementedError


@asynccontextmanager
async def full(*servicers: Full) -> AsyncIterator[generation_pb2_grpc.GenerationServiceAsyncStub]:
    """A channel to servers, all of which serve."""
    service = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"]
    add = generation_pb2_grpc.add_GenerationServiceServicer_to_server
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running([Hosted(service, add, one)])) for one in servicers]
        channel = await stack.enter_async_context(open_channel(",".join(server.address for server in servers)))
        assert isinstance(channel, ReplicatedChannel)
        for one in channel.channels:
            one.get_state(try_to_connect=True)
            await asyncio.wait_for(one.channel_ready(), 20)
        yield generation_pb2_grpc.GenerationServiceStub(channel)


async def test_where_one_replica_is_full_the_other_is_asked_at_once() -> None:
    busy, idle = Full(30.0), Full(30.0, times=0)
    async with full(busy, idle) as stub:
        for _ in range(2):
            await stub.GetGenerator(ASK, timeout=20)
    assert (busy.asked, idle.asked) == (2, 2)  # in turn


async def test_where_all_replicas_are_full_each_is_asked_once_and_the_shortest_delay_is_told() -> None:
    servicers = Full(7.0), Full(3.0), Full(5.0)
    async with full(*servicers) as stub:
        with pytest.raises(OverloadedError) as told, translated(server="server"):
            await stub.GetGenerator(ASK, timeout=20)
    assert told.value.retry_after_s == 3.0
    assert [one.asked for one in servicers] == [1, 1, 1]


async def test_a_quota_of_the_client_is_not_got_round_at_another_replica() -> None:
    servicers = Full(7.0, reason="CLIENT_TOO_FAST"), Full(7.0, reason="CLIENT_TOO_FAST")
    async with full(*servicers) as stub:
        with pytest.raises(OverloadedError), translated(server="server"):
            await stub.GetGenerator(ASK, timeout=20)
    assert sum(one.asked for one in servicers) == 1


def test_a_list_of_addresses_is_checked() -> None:
    with pytest.raises(InvalidRequestError, match=r"'127\.0\.0\.1' is no address"):
        open_channel("127.0.0.1:1,127.0.0.1")
    with pytest.raises(InvalidRequestError, match="stands there twice"):
        open_channel("127.0.0.1:1, 127.0.0.1:1")


async def stop(process: Process) -> tuple[bytes, bytes]:
    """End a replica; return what it wrote."""
    if process.returncode is None:
        process.terminate()
    return await process.communicate()
