"""The gRPC half of the generation server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.services._runtime.jobs import BatchLimits, Key
from maia.services._runtime.making import Making, Order
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import check_count, check_fits, check_prompt, check_words, principal_of
from maia.services._runtime.results import ResultStore, result_key
from maia.services.generation.model import Generator, Wish
from maia.wire.deadline import Deadline
from maia.wire.pictures import png_picture
from maia.wire.server import Hosted

BATCHES: Final = BatchLimits(most=8, waiting=1024)

_Context = grpc.aio.ServicerContext


class GenerationServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Answers for one generator, from what it drew before where that was kept."""

    def __init__(self, generator: Generator, making: Making[Wish, Wish]) -> None:
        self._generator = generator
        self._making = making

    @override
    async def GetGenerator(
        self, request: generation_pb2.GetGeneratorRequest, context: _Context[Any, Any]
    ) -> generation_pb2.GetGeneratorResponse:
        info = self._generator.info
        return generation_pb2.GetGeneratorResponse(
            generator=info.name,
            revision=info.revision,
            prompt_guide=info.prompt_guide,
            width=info.width,
            height=info.height,
        )

    @override
    async def GenerateImages(
        self, request: generation_pb2.GenerateImagesRequest, context: _Context[Any, Any]
    ) -> generation_pb2.GenerateImagesResponse:
        check_count(request.items, "item")
        for index, item in enumerate(request.items):
            check_prompt(item.prompt, index)
            if not self._generator.info.takes_empty:
                check_words(item.prompt, index)
        wishes = [Wish(item.prompt, item.seed, index) for index, item in enumerate(request.items)]
        keys = [self._key(wish) for wish in wishes]
        name = self._generator.info.name
        orders: dict[str, Order[Wish]] = {}
        for key, wish in zip(keys, wishes, strict=True):  # an error names the first of equal ones
            orders.setdefault(key, Order(wish, Key(name, self._generator.key(wish))))
        drawn = await self._making.make(orders, principal_of(context), Deadline.of(context))
        check_fits([drawn[key].png for key in keys])
        response = generation_pb2.GenerateImagesResponse()
        for key in keys:
            response.images.add(picture=png_picture(drawn[key].png), warnings=drawn[key].warnings)
        return response

    def _key(self, wish: Wish) -> str:
        info = self._generator.info
        return result_key(task="generation", by=info.name, revision=info.revision, prompt=wish.prompt, seed=wish.seed)


@asynccontextmanager
async def generation_service(
    generator: Generator,
    thread: ModelThread,
    results: ResultStore,
    limits: BatchLimits = BATCHES,
    metrics: Metrics | None = None,
) -> AsyncIterator[Hosted]:
    """Give the service for a server to host; its queue ends with the context."""
    making = Making(lambda wish: wish, generator.draw, thread, results, doing="drawing", limits=limits, metrics=metrics)
    async with making:
        yield _hosted(GenerationServicer(generator, making))


def _hosted(servicer: GenerationServicer) -> Hosted:
    return Hosted(
        generation_pb2.DESCRIPTOR.services_by_name["GenerationService"],
        generation_pb2_grpc.add_GenerationServiceServicer_to_server,
        servicer,
    )
