"""How pictures of a request are divided, and what is refused before it is decoded."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from maia.services._runtime.requests import check_together, picture_batches
from maia.type.v1 import type_pb2
from maia.wire.errors import InvalidRequestError
from maia.wire.limits import MAX_BATCH_PIXELS, MAX_PICTURE_PIXELS


def picture(width: int, height: int) -> type_pb2.Picture:
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return type_pb2.Picture(data=buffer.getvalue(), media_type="image/png")


SMALL = picture(10, 10)
LARGE = picture(4000, MAX_BATCH_PIXELS // 4000 - 1)
HUGE = picture(8000, MAX_PICTURE_PIXELS // 8000)


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
