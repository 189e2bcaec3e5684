"""A pipeline behind the real server: settings in, pictures out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.services.runtime.pictures import noise
from tests.unit.services.runtime.tiny_pipelines import kontext, saved, sdxl

from maia.editing.v1 import editing_pb2, editing_pb2_grpc
from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.editing import hosting as editing
from maia.services.editing.settings import EditingSettings
from maia.services.generation import hosting as generation
from maia.services.generation.settings import GenerationSettings
from maia.wire.channels import open_channel
from maia.wire.pictures import decode_picture, encode_png, png_picture
from maia.wire.server import running

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


async def test_a_generator_serves_and_keeps_what_it_drew(tmp_path: Path) -> None:
    folder = saved(sdxl, tmp_path / "model")
    settings = GenerationSettings(
        backend="diffusers", model="model", model_dir=tmp_path, steps=2, width=32, height=48, results=tmp_path / "kept"
    )
    request = generation_pb2.GenerateImagesRequest(
        items=[generation_pb2.GenerateItem(prompt="a red apple", seed=seed) for seed in range(3)]
    )
    answers = []
    for _ in range(2):
        with ModelThread("test") as thread:
            async with (
                generation.host(settings, thread, Metrics()) as services,
                running(services) as server,
                open_channel(server.address) as channel,
            ):
                stub = generation_pb2_grpc.GenerationServiceStub(channel)
                info = await stub.GetGenerator(generation_pb2.GetGeneratorRequest())
                answers.append(await stub.GenerateImages(request))
    assert (info.generator, info.width, info.height) == ("model", 32, 48)
    assert "- a photo of" in info.prompt_guide
    first, second = answers
    assert first == second
    assert {decode_picture(image.picture).shape for image in first.images} == {(48, 32, 3)}
    assert len({image.picture.data for image in first.images}) == 3
    assert len(list((tmp_path / "kept").glob("??/*"))) == 3
    assert str(folder) not in info.revision


async def test_an_editor_serves_pictures_of_several_shapes_in_one_request(tmp_path: Path) -> None:
    settings = EditingSettings(
        backend="diffusers",
        model=str(saved(kontext, tmp_path / "model")),
        steps=2,
        width=32,
        height=32,
        results=tmp_path / "kept",
    )
    shapes = [(60, 60), (120, 60), (64, 64), (60, 120)]
    items = [
        editing_pb2.EditItem(
            picture=png_picture(encode_png(noise(number, *shape))), instruction="make it green", seed=number
        )
        for number, shape in enumerate(shapes)
    ]
    with ModelThread("test") as thread:
        async with (
            editing.host(settings, thread, Metrics()) as services,
            running(services) as server,
            open_channel(server.address) as channel,
        ):
            stub = editing_pb2_grpc.EditingServiceStub(channel)
            together = await stub.EditImages(editing_pb2.EditImagesRequest(items=items))
            settings.results.rename(tmp_path / "away")
            alone = [(await stub.EditImages(editing_pb2.EditImagesRequest(items=[item]))).images[0] for item in items]
    pictures = [decode_picture(image.picture) for image in together.images]
    assert [rgb.shape for rgb in pictures] == [(32, 32, 3), (16, 48, 3), (32, 32, 3), (48, 16, 3)]
    for rgb, image in zip(pictures, alone, strict=True):
        assert np.abs(rgb.astype(int) - decode_picture(image.picture)).max() <= 2
