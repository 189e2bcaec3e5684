"""Servers that say which release they are, and clients that mind it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.wire.channels import open_channel, wait_until_serving
from maia.wire.errors import MaiaError, PreconditionError
from maia.wire.server import Hosted, running
from maia.wire.versions import Told, VersionInterceptor, check_version, compatible, own_version

SERVICE = "maia.generation.v1.GenerationService"


class Generator(generation_pb2_grpc.GenerationServiceServicer):
    """Refuses to make pictures."""

    @override
    async def GetGenerator(self, request: object, context: object) -> generation_pb2.GetGeneratorResponse:
        return generation_pb2.GetGeneratorResponse(generator="one")

    @override
    async def GenerateImages(self, request: object, context: object) -> generation_pb2.GenerateImagesResponse:
        raise PreconditionError("no", metadata={"key": "value"})


@asynccontextmanager
async def of_release(version: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a server of another release, of which there is only its health."""
    server = grpc.aio.server(interceptors=[VersionInterceptor([SERVICE], version)])
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("one", "other", "speak"),
    [
        ("0.1.0", "0.1.9", True),
        ("0.1.0", "0.2.0", False),
        ("1.2.0", "1.9.3", True),
        ("1.0.0", "2.0.0", False),
        ("0.1.0", "1.1.0", False),
        ("0.1.0", "0.1.1.dev3+abc", True),
        ("0.1.0", "nonsense", False),
    ],
)
def test_before_1_0_the_minor_number_decides_and_later_the_major(one: str, other: str, speak: bool) -> None:
    assert compatible(one, other) is speak
    assert compatible(other, one) is speak


@pytest.mark.parametrize(
    ("theirs", "ours", "advice"),
    [("0.1.0", "0.2.0", "upgrade the server to 0.2.0"), ("0.10.0", "0.9.0", "upgrade this side to 0.10.0")],
)
def test_a_mismatch_says_which_to_upgrade(theirs: str, ours: str, advice: str) -> None:
    with pytest.raises(PreconditionError, match=f"{theirs} and this is maia {ours}.*{advice}$") as caught:
        check_version(Told(theirs), server="subject server at gpu1:7411", own=ours)
    assert caught.value.reason == "VERSION_MISMATCH"


def test_a_server_that_says_nothing_is_taken_and_nonsense_is_nothing() -> None:
    check_version(Told.of(None), server="s")
    assert Told.of([("maia-time-ms", "soon"), ("other", b"x")]) == Told()
    assert Told.of([("maia-time-ms", "9" * 500)]).time_s is None


async def test_every_server_tells_release_clock_and_services_also_with_an_error() -> None:
    descriptor = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"]
    hosted = Hosted(descriptor, generation_pb2_grpc.add_GenerationServiceServicer_to_server, Generator())
    async with running([hosted]) as server, open_channel(server.address) as channel:
        before = time.time()
        call = generation_pb2_grpc.GenerationServiceStub(channel).GetGenerator(generation_pb2.GetGeneratorRequest())
        await call
        told = Told.of(await call.trailing_metadata())
        assert (told.version, told.services) == (own_version(), (SERVICE,))
        assert told.time_s is not None
        assert before - 1 <= told.time_s <= time.time() + 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="other"))
        assert Told.of(caught.value.trailing_metadata()).services == (SERVICE,)


async def test_a_server_of_another_release_is_not_waited_for() -> None:
    async with of_release("7.0.0") as channel:
        with pytest.raises(PreconditionError, match=r"generation server at x is maia 7\.0\.0.*upgrade this side to 7"):
            await wait_until_serving(channel, server="generation server at x", timeout_s=30)


async def test_another_server_at_the_address_is_told() -> None:
    async with of_release(own_version()) as channel:
        with pytest.raises(MaiaError, match=f"does not know maia.subject.v1.SubjectService, only {SERVICE}") as caught:
            await wait_until_serving(
                channel, server="subject server at x", timeout_s=30, service="maia.subject.v1.SubjectService"
            )
    assert caught.value.reason == "SERVICE_MISSING"
