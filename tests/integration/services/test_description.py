"""The description server, by gRPC, with the scene describer."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pytest
from tests.integration.services.conftest import Draw, readable, refusal, too_large, unreadable

from maia.description.v1 import description_pb2, description_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.maps import mask_to_proto

Stub: TypeAlias = "description_pb2_grpc.DescriptionServiceAsyncStub"


def item(
    picture: type_pb2.Picture, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None = None
) -> description_pb2.DescribeItem:
    return description_pb2.DescribeItem(picture=picture, mask=None if mask is None else mask_to_proto(mask))


async def describe(stub: Stub, *items: description_pb2.DescribeItem) -> list[str]:
    return list((await stub.DescribeImages(description_pb2.DescribeImagesRequest(items=items))).descriptions)


async def test_the_describer_describes_itself(description_stub: Stub) -> None:
    info = await description_stub.GetDescriber(description_pb2.GetDescriberRequest())
    assert info.describer == "scenes"
    assert info.revision


async def test_whole_pictures_and_regions(description_stub: Stub, draw: Draw) -> None:
    picture = await draw("a large red solid circle on the left and a large blue striped square on the right")
    left = np.zeros((224, 224), np.bool_)
    left[:, :112] = True
    whole, region, nothing = await describe(
        description_stub, item(picture), item(picture, left), item(picture, np.zeros((224, 224), np.bool_))
    )
    assert "red circle" in whole
    assert "blue striped square" in whole
    assert "background" in whole
    assert "red circle" in region
    assert "square" not in region
    assert "circle" not in nothing


async def test_many_are_described_in_order(description_stub: Stub, draw: Draw) -> None:
    colours = ["red", "blue", "green"] * 4
    items = [item(await draw(f"a large {colour} solid circle", seed)) for seed, colour in enumerate(colours)]
    for colour, description in zip(colours, await describe(description_stub, *items), strict=True):
        assert f"{colour} circle" in description


async def test_a_summary_says_what_is_common(description_stub: Stub, draw: Draw) -> None:
    items = [item(await draw(f"a large red solid {shape}")) for shape in ("circle", "star", "heart")]
    response = await description_stub.SummarizeImages(description_pb2.SummarizeImagesRequest(items=items))
    assert response.summary.startswith("all 3: red")


@pytest.mark.parametrize("name", readable())
async def test_an_unusual_picture_is_described(description_stub: Stub, name: str) -> None:
    assert (await describe(description_stub, item(readable()[name])))[0]


async def test_the_mask_of_a_tiny_picture_counts(description_stub: Stub) -> None:
    tiny = readable()["tiny"]
    (described,) = await describe(description_stub, item(tiny, np.ones((1, 1), np.bool_)))
    assert described


async def test_what_is_refused(description_stub: Stub, draw: Draw) -> None:
    good = item(await draw("a red circle"))
    wrong_size = item(good.picture, np.ones((224, 223), np.bool_))
    malformed = item(good.picture)
    malformed.mask.MergeFrom(type_pb2.Mask(height=224, width=224, bits=b"short"))
    cases = [
        ((), "REQUEST_EMPTY", ""),
        ((good, wrong_size), "MASK_MISMATCHED", "1"),
        ((good, malformed), "MASK_MISMATCHED", "1"),
        ((item(too_large()),), "PICTURE_TOO_LARGE", "0"),
        *(((good, item(picture)), "PICTURE_UNREADABLE", "1") for picture in unreadable().values()),
    ]
    for items, reason, index in cases:
        for call in (
            description_stub.DescribeImages(description_pb2.DescribeImagesRequest(items=items)),
            description_stub.SummarizeImages(description_pb2.SummarizeImagesRequest(items=items)),
        ):
            error = await refusal(call)
            assert (error.reason, error.metadata.get("index", "")) == (reason, index)
