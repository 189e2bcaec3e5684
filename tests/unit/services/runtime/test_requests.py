"""How pictures of a request are divided, and what is refused before it is decoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.services._runtime.fairness import Principal
from maia.services._runtime.requests import check_together, picture_batches, principal_of
from maia.type.v1 import type_pb2
from maia.wire.access import Access
from maia.wire.calls import call_metadata
from maia.wire.channels import open_channel
from maia.wire.errors import InvalidRequestError
from maia.wire.limits import MAX_BATCH_PIXELS, MAX_PICTURE_PIXELS
from maia.wire.server import Hosted, ServerOptions, running
from maia.wire.tls import ClientCredentials, TokenSource
from maia.wire.tokens import TokenFile, add_principal


def picture(width: int, height: int) -> type_pb2.Picture:
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return type_pb2.Picture(data=buffer.getvalue(), media_type="image/png")


SMALL = picture(10, 10)
LARGE = picture(4000, MAX_BATCH_PIXELS // 4000 - 1)
HUGE = picture(8000, MAX_PICTURE_PIXELS // 8000)


class Principals(generation_pb2_grpc.GenerationServiceServicer):
    """Notes whose turn in the queue a call takes."""

    def __init__(self) -> None:
        self.seen: list[Principal] = []

    @override
    async def GetGenerator(
        self, request: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> generation_pb2.GetGeneratorResponse:
        self.seen.append(principal_of(context))
        return generation_pb2.GetGeneratorResponse()

    @override
    async def GenerateImages(self, request: object, context: object) -> generation_pb2.GenerateImagesResponse:
        raise NotImplementedError


async def test_turns_are_taken_by_authenticated_name_then_by_session(tmp_path: Path) -> None:
    servicer = Principals()
    descriptor = generation_pb2.DESCRIPTOR.services_by_name["GenerationService"]
    hosted = Hosted(descriptor, generation_pb2_grpc.add_GenerationServiceServicer_to_server, servicer)
    for name in ("alice", "bob"):
        add_principal(tmp_path / "tokens.toml", name, ["*"], tmp_path / name)
    access = Access(tokens=TokenFile(tmp_path / "tokens.toml"))
    async with running([hosted], ServerOptions(access=access)) as server:
        for name, session in (("alice", "1"), ("alice", "2"), ("bob", "1")):
            credentials = ClientCredentials(token=TokenSource(file=tmp_path / name))
            async with open_channel(server.address, credentials) as channel:
                stub = generation_pb2_grpc.GenerationServiceStub(channel)
                await stub.GetGenerator(
                    generation_pb2.GetGeneratorRequest(), metadata=call_metadata(session=session), timeout=10
                )
    assert servicer.seen == [Principal("alice", "1"), Principal("alice", "2"), Principal("bob", "1")]


async def test_small_pictures_are_counted() -> None:
    assert await picture_batches([SMALL] * 7, 3) == [range(3), range(3, 6), range(6, 7)]
    assert await picture_batches([SMALL] * 3, 3) == [range(3)]


async def test_a_few_kilobytes_that_decode_to_gigabytes_are_worked_on_one_by_one() -> None:
    assert await picture_batches([LARGE] * 3, 16) == [range(1), range(1, 2), range(2, 3)]
    assert await picture_batches([SMALL, HUGE, SMALL, SMALL], 16) == [range(1), range(1, 2), range(2, 4)]


async def test_what_cannot_be_read_is_refused_with_its_index() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await picture_batches([SMALL, type_pb2.Picture(data=b"no")], 16)
    assert (caught.value.reason, caught.value.metadata["index"]) == ("PICTURE_UNREADABLE", "1")


async def test_pictures_that_are_needed_at_once_have_a_common_bound() -> None:
    await check_together([HUGE])
    await check_together([SMALL] * 1000)
    with pytest.raises(InvalidRequestError, match="together") as caught:
        await check_together([HUGE, SMALL])
    assert caught.value.reason == "REQUEST_TOO_LARGE"
