"""The generation server: pictures from text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.orchestrator.clients.calling import Connection, Terms
from maia.orchestrator.conversation import Picture


@dataclass(frozen=True, slots=True)
class Generator:
    """What draws: its name, revision, how to write prompts for it, and the size of its pictures (width, height)."""

    name: str
    revision: str
    prompt_guide: str
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class GenerateItem:
    """A picture to draw."""

    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class GeneratedPicture:
    """A picture that was drawn, and what of its prompt was not, a sentence each."""

    picture: Picture
    warnings: tuple[str, ...]


class GenerationClient:
    """Speaks to the generation server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = generation_pb2_grpc.GenerationServiceStub(connection.channel)

    async def generator(self, terms: Terms) -> Generator:
        """Describe the generator."""
        answer = await self._connection.ask(self._stub.GetGenerator, generation_pb2.GetGeneratorRequest(), terms)
        return Generator(answer.generator, answer.revision, answer.prompt_guide, (answer.width, answer.height))

    async def generate(self, items: Sequence[GenerateItem], terms: Terms) -> list[GeneratedPicture]:
        """Draw one picture per item, in order.

        Raises:
            InvalidRequestError: PROMPT_TOO_LONG, metadata "index" and "limit"; REQUEST_EMPTY.
        """
        request = generation_pb2.GenerateImagesRequest(
            items=[generation_pb2.GenerateItem(prompt=item.prompt, seed=item.seed) for item in items]
        )
        answer = await self._connection.ask(self._stub.GenerateImages, request, terms)
        self._connection.expect(answer.images, len(items))
        return [
            GeneratedPicture(self._connection.received(image.picture), tuple(image.warnings)) for image in answer.images
        ]
