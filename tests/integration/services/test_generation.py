"""The generation server, by gRPC, with the scene generator."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from tests.integration.services.conftest import refusal

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.services.generation.servicer import BATCHES
from maia.services.scenes.png import embedded_scene
from maia.services.scenes.segment import segment
from maia.wire.limits import MAX_PICTURES, MAX_PROMPT_CHARS
from maia.wire.pictures import decode_picture

Stub: TypeAlias = "generation_pb2_grpc.GenerationServiceAsyncStub"


def request(*items: tuple[str, int]) -> generation_pb2.GenerateImagesRequest:
    return generation_pb2.GenerateImagesRequest(
        items=[generation_pb2.GenerateItem(prompt=prompt, seed=seed) for prompt, seed in items]
    )


async def test_the_generator_describes_itself(generation_stub: Stub) -> None:
    info = await generation_stub.GetGenerator(generation_pb2.GetGeneratorRequest())
    assert (info.generator, info.width, info.height) == ("scenes", 224, 224)
    assert "Shapes: circle," in info.prompt_guide
    assert info.revision


async def test_a_prompt_is_drawn(generation_stub: Stub) -> None:
    response = await generation_stub.GenerateImages(request(("a large red striped circle", 5)))
    rgb = decode_picture(response.images[0].picture)
    assert rgb.shape == (224, 224, 3)
    (region,) = segment(rgb).regions
    assert (region.colour, region.texture, region.shape) == ("red", "striped", "circle")
    assert not response.images[0].warnings
    assert embedded_scene(response.images[0].picture.data) is not None


async def test_prompt_and_seed_decide_the_picture_alone(generation_stub: Stub) -> None:
    items = [("a red star", seed) for seed in range(BATCHES.most + 2)] + [("a red star", 2**64 - 1), ("a blue star", 0)]
    together = await generation_stub.GenerateImages(request(*items))
    alone = [(await generation_stub.GenerateImages(request(item))).images[0] for item in items]
    assert list(together.images) == alone
    assert len({image.picture.data for image in alone}) == len(items)


async def test_what_cannot_be_drawn_is_named(generation_stub: Stub) -> None:
    response = await generation_stub.GenerateImages(request(("a dog beside a red circle", 1), ("", 1)))
    first, second = response.images
    assert "dog" in " ".join(first.warnings)
    assert second.warnings
    assert segment(decode_picture(second.picture)).regions == ()


@pytest.mark.parametrize("prompt", ["x" * MAX_PROMPT_CHARS, "𝔘\0\n\u202e", "a red circle " * 1500])
async def test_any_text_within_the_limit_is_drawn(generation_stub: Stub, prompt: str) -> None:
    assert len((await generation_stub.GenerateImages(request((prompt, 1)))).images) == 1


async def test_what_is_refused(generation_stub: Stub) -> None:
    assert (await refusal(generation_stub.GenerateImages(request()))).reason == "REQUEST_EMPTY"
    error = await refusal(generation_stub.GenerateImages(request(("fine", 1), ("x" * (MAX_PROMPT_CHARS + 1), 1))))
    assert error.reason == "PROMPT_TOO_LONG"
    assert (error.metadata["index"], error.metadata["limit"]) == ("1", str(MAX_PROMPT_CHARS))
    error = await refusal(generation_stub.GenerateImages(request(*[("x", 1)] * (MAX_PICTURES + 1))))
    assert error.reason == "REQUEST_TOO_LARGE"
