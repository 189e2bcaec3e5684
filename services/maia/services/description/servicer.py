"""The gRPC half of the description server."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.description.v1 import description_pb2, description_pb2_grpc
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import check_count, check_together, picture_batches
from maia.services.description.model import Describer, View
from maia.wire.deadline import Deadline
from maia.wire.errors import InvalidRequestError
from maia.wire.maps import mask_from_proto
from maia.wire.pictures import decode_picture
from maia.wire.server import Hosted

BATCH: Final = 8
"""Pictures that are described in one go."""

_Context = grpc.aio.ServicerContext
_Items = Sequence[description_pb2.DescribeItem]


class DescriptionServicer(description_pb2_grpc.DescriptionServiceServicer):
    """Answers for one describer."""

    def __init__(self, describer: Describer, thread: ModelThread) -> None:
        self._describer = describer
        self._thread = thread

    @override
    async def GetDescriber(
        self, request: description_pb2.GetDescriberRequest, context: _Context[Any, Any]
    ) -> description_pb2.GetDescriberResponse:
        info = self._describer.info
        return description_pb2.GetDescriberResponse(describer=info.name, revision=info.revision)

    @override
    async def DescribeImages(
        self, request: description_pb2.DescribeImagesRequest, context: _Context[Any, Any]
    ) -> description_pb2.DescribeImagesResponse:
        check_count(request.items, "item")
        deadline = Deadline.of(context)
        response = description_pb2.DescribeImagesResponse()
        for batch in await picture_batches([item.picture for item in request.items], BATCH):
            work = partial(self._describe, request.items, batch)
            response.descriptions.extend(await self._thread.run(work, deadline, doing="describing"))
        return response

    @override
    async def SummarizeImages(
        self, request: description_pb2.SummarizeImagesRequest, context: _Context[Any, Any]
    ) -> description_pb2.SummarizeImagesResponse:
        check_count(request.items, "item")
        await check_together([item.picture for item in request.items])
        work = partial(self._summarize, request.items)
        summary = await self._thread.run(work, Deadline.of(context), doing="summarizing")
        return description_pb2.SummarizeImagesResponse(summary=summary)

    def _describe(self, items: _Items, batch: range) -> list[str]:
        return self._describer.describe([_view(items[index], index) for index in batch])

    def _summarize(self, items: _Items) -> str:
        return self._describer.summarize([_view(item, i) for i, item in enumerate(items)])


def description_service(describer: Describer, thread: ModelThread) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        description_pb2.DESCRIPTOR.services_by_name["DescriptionService"],
        description_pb2_grpc.add_DescriptionServiceServicer_to_server,
        DescriptionServicer(describer, thread),
    )


def _view(item: description_pb2.DescribeItem, index: int) -> View:
    rgb = decode_picture(item.picture, index=index)
    if not item.HasField("mask"):
        return View(rgb, None)
    mask = mask_from_proto(item.mask, index=index)
    if mask.shape != rgb.shape[:2]:
        raise InvalidRequestError(
            f"the mask of picture {index} has {mask.shape[1]} × {mask.shape[0]} pixels, the picture "
            f"{rgb.shape[1]} × {rgb.shape[0]}",
            reason="MASK_MISMATCHED",
            metadata={"index": str(index)},
        )
    return View(rgb, mask)
