"""The gRPC half of the generation server."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import batches, check_count, check_prompt
from maia.services.generation.model import Generator, Wish
from maia.wire.deadline import Deadline
from maia.wire.pictures import png_picture
from maia.wire.server import Hosted

BATCH: Final = 8
"""Pictures that are drawn in one go."""

_Context = grpc.aio.ServicerContext


class GenerationServicer(generation_pb2_grpc.GenerationServiceServicer):
    """Answers for one generator."""

    def __init__(self, generator: Generator, thread: ModelThread) -> None:
        self._generator = generator
        self._thread = thread

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
        deadline = Deadline.of(context)
        response = generation_pb2.GenerateImagesResponse()
        for _, items in batches(request.items, BATCH):
            wishes = [Wish(item.prompt, item.seed) for item in items]
            drawings = await self._thread.run(partial(self._generator.draw, wishes), deadline, doing="drawing")
            for drawing in drawings:
                response.images.add(picture=png_picture(drawing.png), warnings=drawing.warnings)
        return response


def generation_service(generator: Generator, thread: ModelThread) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        generation_pb2.DESCRIPTOR.services_by_name["GenerationService"],
        generation_pb2_grpc.add_GenerationServiceServicer_to_server,
        GenerationServicer(generator, thread),
    )
