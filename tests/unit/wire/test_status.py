"""Every error makes the whole way over a real call: raised in a servicer, caught by a client as the same class."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import MappingProxyType

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.wire.channels import open_channel
from maia.wire.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PermissionRefusedError,
    UnauthenticatedError,
)
from maia.wire.errors import UnavailableError as Unavailable
from maia.wire.server import Hosted, running
from maia.wire.status import ERROR_OF, STATUS_OF, from_rpc, status_code, to_status, translated

_SERVICE = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"]


class Raising(generation_pb2_grpc.GenerationServiceServicer):
    """Raises what it was told to."""

    error: BaseException = InternalError("unset")

    @override
    async def GetGenerator(self, request: object, context: object) -> generation_pb2.GetGeneratorResponse:
        raise self.error

    @override
    async def GenerateImages(
        self, request: generation_pb2.GenerateImagesRequest, context: object
    ) -> generation_pb2.GenerateImagesResponse:
        await asyncio.sleep(30)
        raise AssertionError


async def call(servicer: Raising, error: BaseException) -> MaiaError:
    servicer.error = error
    hosted = Hosted(_SERVICE, generation_pb2_grpc.add_GenerationServiceServicer_to_server, servicer)
    async with running([hosted]) as server, open_channel(server.address) as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        with pytest.raises(MaiaError) as caught, translated(server=f"generation server at {server.address}"):
            await stub.GetGenerator(generation_pb2.GetGeneratorRequest(), timeout=10)
    return caught.value


# An UNAVAILABLE would be retried by the channel, which is right, and slow in a loop.
CLASSES = sorted(STATUS_OF, key=lambda cls: cls.__name__)
REFUSALS = (PermissionRefusedError, UnauthenticatedError)
TEXT = st.text(max_size=80)
REASON = st.from_regex(r"\A[A-Z][A-Z0-9_]{0,61}[A-Z0-9]\Z")
METADATA = st.dictionaries(st.from_regex(r"\A[a-z][a-zA-Z0-9-_]{0,62}\Z"), TEXT, max_size=4)


@pytest.mark.parametrize("cls", CLASSES)
@settings(max_examples=5, deadline=None)
@given(message=TEXT, reason=REASON, metadata=METADATA)
def test_every_class_crosses_the_wire(
    cls: type[MaiaError], message: str, reason: str, metadata: dict[str, str]
) -> None:
    sent = cls(message, reason=reason, metadata=metadata)
    got = asyncio.run(call(Raising(), sent))
    assert type(got) is cls
    # Who is refused has to know by which of many servers.
    assert got.message == message or (cls in REFUSALS and got.message.endswith(f" refuses the call: {message}"))
    assert (got.reason, got.metadata) == (reason, MappingProxyType(metadata))


async def test_an_overloaded_server_says_when_to_ask_again() -> None:
    got = await call(Raising(), OverloadedError("full", retry_after_s=0.25))
    assert isinstance(got, OverloadedError)
    assert got.retry_after_s == 0.25


async def test_a_class_of_someone_elses_has_the_status_of_its_base() -> None:
    class PromptTooLongError(InvalidRequestError):
        default_reason = "PROMPT_TOO_LONG"

    got = await call(Raising(), PromptTooLongError("too long"))
    assert type(got) is InvalidRequestError
    assert got.reason == "PROMPT_TOO_LONG"


async def test_texts_too_long_for_the_trailers_are_cut() -> None:
    got = await call(Raising(), InternalError("ü" * 50_000, metadata={f"key {i}": "ä" * 9_000 for i in range(40)}))
    assert got.message.startswith("üüü")
    assert got.message.endswith("…")
    assert got.metadata["key 0"].endswith("…")


async def test_an_unplanned_error_keeps_its_text_to_itself() -> None:
    got = await call(Raising(), ValueError("/secret/path"))
    assert isinstance(got, InternalError)
    assert "/secret" not in str(got)
    assert got.metadata["incident"] in got.message


def test_every_class_has_one_status_and_every_status_a_class() -> None:
    assert len(set(STATUS_OF.values())) == len(STATUS_OF)
    assert set(ERROR_OF) == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    for cls, status in STATUS_OF.items():
        assert ERROR_OF[status] is cls
        assert to_status(cls("x")).code is status is status_code(cls("x"))


@pytest.mark.parametrize("code", list(ERROR_OF), ids=str)
def test_a_status_without_details_maps(code: grpc.StatusCode) -> None:
    plain = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="from a proxy")
    error = from_rpc(plain, server="subject server at 127.0.0.1:1")
    assert type(error) is ERROR_OF[code]
    assert "subject server at 127.0.0.1:1" in error.message


@pytest.mark.parametrize("value", [b"\xff\xff\xff", b""])
def test_foreign_details_do_not_hide_the_status(value: bytes) -> None:
    trailers = grpc.aio.Metadata(("grpc-status-details-bin", value))
    plain = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailers, details="no such thing")
    assert "no such thing" in from_rpc(plain, server="subject server").message


@pytest.fixture
async def stub() -> AsyncIterator[generation_pb2_grpc.GenerationServiceAsyncStub]:
    hosted = Hosted(_SERVICE, generation_pb2_grpc.add_GenerationServiceServicer_to_server, Raising())
    async with running([hosted]) as server, open_channel(server.address) as channel:
        yield generation_pb2_grpc.GenerationServiceStub(channel)


async def test_a_passed_deadline_is_ours(stub: generation_pb2_grpc.GenerationServiceAsyncStub) -> None:
    with pytest.raises(DeadlineExceededError), translated(server="generation server"):
        await stub.GenerateImages(generation_pb2.GenerateImagesRequest(), timeout=0.05)


async def test_a_message_over_the_limit_is_no_full_queue(stub: generation_pb2_grpc.GenerationServiceAsyncStub) -> None:
    request = generation_pb2.GenerateImagesRequest(items=[generation_pb2.GenerateItem(prompt="x" * (65 << 20))])
    with pytest.raises(InvalidRequestError) as caught, translated(server="generation server"):
        await stub.GenerateImages(request, timeout=10)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


async def test_nobody_there_is_unavailable() -> None:
    async with open_channel("127.0.0.1:1") as channel:
        stub = generation_pb2_grpc.GenerationServiceStub(channel)
        says = r"generation server at 127\.0\.0\.1:1 does not answer"
        with pytest.raises(Unavailable, match=says), translated(server="generation server at 127.0.0.1:1"):
            await stub.GetGenerator(generation_pb2.GetGeneratorRequest(), timeout=5)
