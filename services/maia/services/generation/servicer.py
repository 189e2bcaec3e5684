"""The gRPC half of the generation server."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.services._runtime.abandonment import Abandonment
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import batches, check_count, check_prompt
from maia.services._runtime.results import MadePicture, ResultStore, result_key
from maia.services._runtime.words import check_words
from maia.services.generation.model import Generator, Wish
from maia.wire.deadline import Deadline
from maia.wire.pictures import png_picture
from maia.wire.server import Hosted

BATCH: Final = 8
"""Pictures that are drawn in one go."""

_Context = grpc.aio.ServicerContext


class GenerationServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Answers for one generator, from what it drew before where that was kept."""

    def __init__(self, generator: Generator, thread: ModelThread, results: ResultStore) -> None:
        self._generator = generator
        self._thread = thread
        self._results = results

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
        drawn = await self._drawn(dict(zip(keys, wishes, strict=True)), Deadline.of(context))
        response = generation_pb2.GenerateImagesResponse()
        for key in keys:
            response.images.add(picture=png_picture(drawn[key].png), warnings=drawn[key].warnings)
        return response

    async def _drawn(self, wishes: Mapping[str, Wish], deadline: Deadline) -> Mapping[str, MadePicture]:
        """Draw what is not kept; a batch is kept as soon as it is drawn, whatever becomes of the next."""
        drawn = await self._results.recall(list(wishes))
        for _, keys in batches([key for key in wishes if key not in drawn], BATCH):
            with Abandonment(deadline) as abandoned:
                work = partial(self._generator.draw, [wishes[key] for key in keys], abandoned)
                batch = await self._thread.run(work, deadline, doing="drawing")
            drawn |= await self._results.keep(dict(zip(keys, batch, strict=True)))
        return drawn

    def _key(self, wish: Wish) -> str:
        info = self._generator.info
        return result_key(task="generation", by=info.name, revision=info.revision, prompt=wish.prompt, seed=wish.seed)


def generation_service(generator: Generator, thread: ModelThread, results: ResultStore) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        generation_pb2.DESCRIPTOR.services_by_name["GenerationService"],
        generation_pb2_grpc.add_GenerationServiceServicer_to_server,
        GenerationServicer(generator, thread, results),
    )
