"""The gRPC half of the description server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.description.v1 import description_pb2, description_pb2_grpc
from maia.services._runtime.jobs import BatchLimits
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.queue import BatchQueue
from maia.services._runtime.requests import check_count, check_together, principal_of
from maia.services.description.asking import Asking, ask_job
from maia.services.description.model import Describer, Task
from maia.services.description.remembered import Remembered
from maia.wire.deadline import Deadline
from maia.wire.limits import MAX_BATCH_PIXELS
from maia.wire.server import Hosted

BATCHES: Final = BatchLimits(most=8, most_weight=MAX_BATCH_PIXELS, waiting=1024)
"""Weighed in pixels: a small file can hold a huge picture, so that a count alone would not bound the memory."""

_Context = grpc.aio.ServicerContext


class DescriptionServicer(description_pb2_grpc.DescriptionServiceServicer):
    """Answers for one describer."""

    def __init__(self, describer: Describer, asking: Asking) -> None:
        self._describer = describer
        self._asking = asking

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
        groups = [[item] for item in request.items]
        lines = await self._asking.ask(Task.DESCRIBE, groups, principal_of(context), Deadline.of(context))
        return description_pb2.DescribeImagesResponse(descriptions=lines)

    @override
    async def SummarizeImages(
        self, request: description_pb2.SummarizeImagesRequest, context: _Context[Any, Any]
    ) -> description_pb2.SummarizeImagesResponse:
        check_count(request.items, "item")
        await check_together([item.picture for item in request.items])
        principal, deadline = principal_of(context), Deadline.of(context)
        (summary,) = await self._asking.ask(Task.SUMMARIZE, [request.items], principal, deadline)
        return description_pb2.SummarizeImagesResponse(summary=summary)


@asynccontextmanager
async def description_service(
    describer: Describer,
    thread: ModelThread,
    limits: BatchLimits = BATCHES,
    metrics: Metrics | None = None,
) -> AsyncIterator[Hosted]:
    """Give the service for a server to host; its queue ends with the context."""
    metrics = metrics or Metrics()
    remembered = Remembered()
    async with BatchQueue(ask_job(describer, remembered), thread, limits, metrics) as queue:
        yield _hosted(DescriptionServicer(describer, Asking(describer, queue, remembered, metrics)))


def _hosted(servicer: DescriptionServicer) -> Hosted:
    return Hosted(
        description_pb2.DESCRIPTOR.services_by_name["DescriptionService"],
        description_pb2_grpc.add_DescriptionServiceServicer_to_server,
        servicer,
    )
