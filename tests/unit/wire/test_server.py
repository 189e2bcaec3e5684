"""The runtime that all servers share, in this event loop; its life as a process is in test_server_process."""

from __future__ import annotations

import asyncio
import re
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.unit.wire.lab import made, server_of
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.wire.calls import call_metadata
from maia.wire.channels import open_channel, wait_until_serving
from maia.wire.deadline import Deadline
from maia.wire.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)
from maia.wire.server import Hosted, RunningServer, ServerOptions, check_options, running
from maia.wire.status import translated

NAME = "maia.generation.v1.GenerationService"


class Slow(generation_pb2_grpc.GenerationServiceServicer):
    """Answers when it is let."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.released = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.deadline = Deadline()
        self.peers: list[str] = []

    @override
    async def GetGenerator(
        self, request: object, context: grpc.aio.ServicerContext[object, object]
    ) -> generation_pb2.GetGeneratorResponse:
        self.peers.append(context.peer())
        return generation_pb2.GetGeneratorResponse(generator="slow")

    @override
    async def GenerateImages(
        self, request: object, context: grpc.aio.ServicerContext[object, object]
    ) -> generation_pb2.GenerateImagesResponse:
        self.deadline = Deadline.of(context)
        self.peers.append(context.peer())
        self.started.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return generation_pb2.GenerateImagesResponse()


def hosted(servicer: Slow) -> Hosted:
    descriptor = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"]
    return Hosted(descriptor, generation_pb2_grpc.add_GenerationServiceServicer_to_server, servicer)


@pytest.fixture
def servicer() -> Slow:
    return Slow()


@pytest.fixture
async def server(servicer: Slow) -> AsyncIterator[RunningServer]:
    async with running([hosted(servicer)], ServerOptions(drain_s=0.2)) as server:
        yield server


@pytest.fixture
async def channel(server: RunningServer) -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel(server.address) as channel:
        yield channel


async def health_of(channel: grpc.aio.Channel, service: str) -> str:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def test_health_says_serving_for_the_server_and_the_service(channel: grpc.aio.Channel) -> None:
    assert await health_of(channel, "") == "SERVING"
    assert await health_of(channel, NAME) == "SERVING"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health_of(channel, "maia.other.v1.OtherService")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services_where_it_was_asked_for(servicer: Slow) -> None:
    async with (
        running([hosted(servicer)], ServerOptions(reflection=True)) as server,
        open_channel(server.address) as channel,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        answer = await anext(aiter(call))
        assert NAME in [service.name for service in answer.list_services_response.service]
        call.cancel()


async def test_without_it_nobody_is_told_which_methods_there_are(channel: grpc.aio.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(aiter(call))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_drain_lets_a_call_in_flight_end(servicer: Slow) -> None:
    async with (
        running([hosted(servicer)], ServerOptions(drain_s=10)) as server,
        open_channel(server.address) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = asyncio.ensure_future(stub.GenerateImages(generation_pb2.GenerateImagesRequest()))
        await servicer.started.wait()
        draining = asyncio.create_task(server.drain())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        async with open_channel(server.address) as late:
            with pytest.raises(UnavailableError), translated(server="late"):
                await generation_pb2_grpc.GenerationServiceStub(late).GetGenerator(generation_pb2.GetGeneratorRequest())
        assert not call.done()
        servicer.released.set()
        assert await call == generation_pb2.GenerateImagesResponse()
        watch.cancel()
        await draining


async def test_drain_ends_a_call_that_takes_too_long(servicer: Slow) -> None:
    async with (
        running([hosted(servicer)], ServerOptions(drain_s=0.1)) as server,
        open_channel(server.address) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        call = asyncio.ensure_future(stub.GenerateImages(generation_pb2.GenerateImagesRequest()))
        await servicer.started.wait()
        await server.drain()
        with pytest.raises(MaiaError), translated(server="server"):
            await call


async def test_a_second_order_to_stop_ends_the_drain(servicer: Slow) -> None:
    async with (
        running([hosted(servicer)], ServerOptions(drain_s=600)) as server,
        open_channel(server.address) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        call = asyncio.ensure_future(stub.GenerateImages(generation_pb2.GenerateImagesRequest()))
        await servicer.started.wait()
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0.05)
        await server.abort()
        await draining
        with pytest.raises(MaiaError), translated(server="server"):
            await call


async def test_the_servicer_sees_the_callers_deadline(servicer: Slow, channel: grpc.aio.Channel) -> None:
    stub = generation_pb2_grpc.GenerationServiceStub(channel)
    with pytest.raises(DeadlineExceededError), translated(server="server"):
        await stub.GenerateImages(generation_pb2.GenerateImagesRequest(), timeout=0.1)
    assert servicer.deadline.remaining() < 0.1
    with pytest.raises(DeadlineExceededError, match="before measuring"):
        Deadline.after(-1).check("measuring")
    await servicer.cancelled.wait()


async def test_no_deadline_is_none(servicer: Slow, channel: grpc.aio.Channel) -> None:
    servicer.released.set()
    await generation_pb2_grpc.GenerationServiceStub(channel).GenerateImages(generation_pb2.GenerateImagesRequest())
    assert servicer.deadline == Deadline()
    servicer.deadline.check("anything")


async def test_each_call_is_one_log_line_with_its_ids(servicer: Slow, channel: grpc.aio.Channel) -> None:
    stub = generation_pb2_grpc.GenerationServiceStub(channel)
    with structlog.testing.capture_logs() as lines:
        await stub.GetGenerator(
            generation_pb2.GetGeneratorRequest(), metadata=call_metadata(run="r1", session="s" * 500, call="c3")
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GenerateImages(generation_pb2.GenerateImagesRequest(), timeout=0.1)
        await servicer.cancelled.wait()
        async with asyncio.timeout(5):
            while len(lines) < 2:  # noqa: ASYNC110 - the line is written after the call, and nothing else tells
                await asyncio.sleep(0.01)
    first, second = lines
    assert (first["method"], first["code"]) == (f"/{NAME}/GetGenerator", "OK")
    assert (first["run"], first["session"], first["call"]) == ("r1", "s" * 64, "c3")
    assert first["ms"] >= 0
    assert (second["code"], "run" in second) == ("DEADLINE_EXCEEDED", False)


def test_ids_that_cannot_travel_are_refused() -> None:
    with pytest.raises(ValueError, match="no call id"):
        call_metadata(unit="x")
    with pytest.raises(ValueError, match="no call id"):
        call_metadata(run="a\nb")


async def test_a_unix_socket_is_its_owners_alone(servicer: Slow, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    async with running([hosted(servicer)], ServerOptions(listen=f"unix:{path}")) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.address == f"unix:{path}"
        async with open_channel(server.address) as channel:
            await wait_until_serving(channel, server="server", timeout_s=5)
        with pytest.raises(PreconditionError) as caught:
            async with running([hosted(servicer)], ServerOptions(listen=f"unix:{path}")):
                pass
        assert caught.value.reason == "ADDRESS_IN_USE"
    assert not path.exists()


async def test_the_socket_of_a_killed_server_is_replaced(servicer: Slow, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    options = ServerOptions(listen=f"unix:{path}")
    async with running([hosted(servicer)], options) as server, open_channel(server.address) as channel:
        await wait_until_serving(channel, server="server", timeout_s=5)
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        await stub.GetGenerator(generation_pb2.GetGeneratorRequest())
        assert len(servicer.peers) == 1


async def test_a_socket_without_a_folder_is_refused_with_the_reason(servicer: Slow, tmp_path: Path) -> None:
    options = ServerOptions(f"unix:{tmp_path}/none/s.sock")
    with pytest.raises(PreconditionError, match=r"the folder .*none does not exist"):
        async with running([hosted(servicer)], options):
            pass


async def test_a_file_that_is_no_socket_is_left_alone(servicer: Slow, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    path.write_text("notes")
    with pytest.raises(PreconditionError, match="something else than a socket"):
        async with running([hosted(servicer)], ServerOptions(listen=f"unix:{path}")):
            pass
    assert path.read_text() == "notes"


async def test_a_port_in_use_is_refused(servicer: Slow, server: RunningServer) -> None:
    with pytest.raises(PreconditionError) as caught:
        async with running([hosted(servicer)], ServerOptions(listen=server.address)):
            pass
    assert caught.value.reason == "ADDRESS_IN_USE"
    assert caught.value.message == (
        f"{server.address} cannot be bound: the port is taken; is a server running there already?"
    )


async def test_an_old_connection_is_replaced_and_a_call_on_it_ends_as_it_would(servicer: Slow) -> None:
    options = ServerOptions(connection_age_s=0.2)
    async with running([hosted(servicer)], options) as server, open_channel(server.address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        slow = asyncio.ensure_future(stub.GenerateImages(generation_pb2.GenerateImagesRequest()))
        await servicer.started.wait()
        first = servicer.peers[0]
        async with asyncio.timeout(20):
            while servicer.peers[-1] == first:
                await stub.GetGenerator(generation_pb2.GetGeneratorRequest())
        servicer.released.set()
        assert await slow == generation_pb2.GenerateImagesResponse()


@pytest.mark.parametrize(
    ("listen", "why"),
    [("192.0.2.1:7000", "this machine has no such address"), ("host.invalid:7000", "no host is called host.invalid")],
)
async def test_an_address_of_another_machine_is_told(servicer: Slow, tmp_path: Path, listen: str, why: str) -> None:
    options = ServerOptions(listen, credentials=server_of(made(tmp_path)))
    with pytest.raises(PreconditionError, match=f"{re.escape(listen)} cannot be bound: {why}") as caught:
        async with running([hosted(servicer)], options):
            pass
    assert caught.value.reason == "ADDRESS_UNUSABLE"


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.168.1.2:7000"])
async def test_only_loopback_is_served(servicer: Slow, listen: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        async with running([hosted(servicer)], ServerOptions(listen=listen)):
            pass
    assert caught.value.reason == "ADDRESS_NOT_LOCAL"


async def test_waiting_for_a_server_that_never_comes_says_which() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        with pytest.raises(UnavailableError, match=r"subject server at 127\.0\.0\.1:1 was not ready within 0\.2 s"):
            await wait_until_serving(channel, server="subject server at 127.0.0.1:1", timeout_s=0.2)


async def test_requests_that_wait_are_bounded_in_bytes_and_health_still_answers(servicer: Slow) -> None:
    async with (
        running([hosted(servicer)], ServerOptions(drain_s=0.2, request_bytes=1000)) as server,
        open_channel(server.address) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        large = generation_pb2.GenerateImagesRequest(items=[generation_pb2.GenerateItem(prompt="x" * 1200)])
        small = generation_pb2.GenerateImagesRequest(items=[generation_pb2.GenerateItem(prompt="x" * 100)])
        waiting = asyncio.ensure_future(stub.GenerateImages(large))
        await servicer.started.wait()
        with pytest.raises(OverloadedError, match=r"12.. bytes.* over 1000") as caught, translated(server="g"):
            await stub.GenerateImages(small)
        assert caught.value.retry_after_s == 1.0
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service=NAME))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        servicer.released.set()
        await waiting
        await stub.GenerateImages(small)


async def test_a_folder_that_takes_no_socket_is_told_in_a_line() -> None:
    with pytest.raises(PreconditionError, match=r"unix:/proc/x\.sock cannot be bound: .+") as caught:
        async with running([], ServerOptions("unix:/proc/x.sock")):
            pass
    assert caught.value.reason == "ADDRESS_UNUSABLE"
    assert "\n" not in caught.value.message


async def test_a_port_that_is_taken_is_told_before_a_model_is_loaded() -> None:
    async with running([]) as server:
        with pytest.raises(PreconditionError, match="the port is taken") as caught:
            check_options(ServerOptions(server.address))
    assert caught.value.reason == "ADDRESS_IN_USE"
    check_options(ServerOptions(server.address))
