"""The description server: words for pictures, or for the highlighted parts of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maia.description.v1 import description_pb2, description_pb2_grpc
from maia.orchestrator.clients.calling import Connection, Terms, sent
from maia.orchestrator.conversation import Picture
from maia.wire.maps import mask_to_proto


@dataclass(frozen=True, slots=True)
class Describer:
    """What describes: its name and revision."""

    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class Region:
    """What to describe.

    Attributes:
        picture: The original picture, not a darkened view of it.
        mask: bool, of the picture's height and width; None for the whole picture.
    """

    picture: Picture
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)


class DescriptionClient:
    """Speaks to the description server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = description_pb2_grpc.DescriptionServiceStub(connection.channel)

    async def describer(self, terms: Terms) -> Describer:
        """Describe the describer."""
        answer = await self._connection.ask(self._stub.GetDescriber, description_pb2.GetDescriberRequest(), terms)
        return Describer(answer.describer, answer.revision)

    async def describe(self, regions: Sequence[Region], terms: Terms) -> list[str]:
        """Describe each region on its own, in order.

        Raises:
            InvalidRequestError: PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index"; MASK_MISMATCHED;
                REQUEST_EMPTY; MESSAGE_TOO_LARGE.
        """
        request = description_pb2.DescribeImagesRequest(items=_items(regions))
        answer = await self._connection.ask(self._stub.DescribeImages, request, terms)
        self._connection.expect(answer.descriptions, len(regions))
        return list(answer.descriptions)

    async def summarize(self, regions: Sequence[Region], terms: Terms) -> str:
        """Say what regions have in common; raises as `describe`."""
        request = description_pb2.SummarizeImagesRequest(items=_items(regions))
        return (await self._connection.ask(self._stub.SummarizeImages, request, terms)).summary


def _items(regions: Sequence[Region]) -> list[description_pb2.DescribeItem]:
    return [
        description_pb2.DescribeItem(
            picture=sent(region.picture), mask=None if region.mask is None else mask_to_proto(region.mask)
        )
        for region in regions
    ]
