"""The five servers with their embedded backends, each on a port of its own in this event loop."""

from __future__ import annotations

import io
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from maia.description.v1 import description_pb2_grpc
from maia.editing.v1 import editing_pb2_grpc
from maia.exemplars.v1 import exemplars_pb2_grpc
from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.description import hosting as description
from maia.services.description.settings import DescriptionSettings
from maia.services.editing import hosting as editing
from maia.services.editing.settings import EditingSettings
from maia.services.exemplars import hosting as exemplars
from maia.services.exemplars.settings import ExemplarsSettings
from maia.services.generation import hosting as generation
from maia.services.generation.settings import GenerationSettings
from maia.services.subject import hosting as subject
from maia.services.subject.settings import SubjectSettings
from maia.subject.v1 import subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.channels import open_channel
from maia.wire.errors import MaiaError
from maia.wire.server import Hosted, running
from maia.wire.status import translated


@asynccontextmanager
async def served(services: Sequence[Hosted]) -> AsyncIterator[grpc.aio.Channel]:
    async with running(services) as server, open_channel(server.address) as channel:
        yield channel


@pytest.fixture
async def subject_channel() -> AsyncIterator[grpc.aio.Channel]:
    with ModelThread("subject") as thread:
        async with (
            subject.host(SubjectSettings(model=("scene-neurons",)), thread, Metrics()) as services,
            served(services) as channel,
        ):
            yield channel


@pytest.fixture
def subject_stub(subject_channel: grpc.aio.Channel) -> subject_pb2_grpc.SubjectServiceAsyncStub:
    return subject_pb2_grpc.SubjectServiceStub(subject_channel)


@pytest.fixture
async def generation_stub() -> AsyncIterator[generation_pb2_grpc.GenerationServiceAsyncStub]:
    with ModelThread("generation") as thread:
        async with generation.host(GenerationSettings(), thread, Metrics()) as services, served(services) as channel:
            yield generation_pb2_grpc.GenerationServiceStub(channel)


@pytest.fixture
async def editing_stub() -> AsyncIterator[editing_pb2_grpc.EditingServiceAsyncStub]:
    with ModelThread("editing") as thread:
        async with editing.host(EditingSettings(), thread, Metrics()) as services, served(services) as channel:
            yield editing_pb2_grpc.EditingServiceStub(channel)


@pytest.fixture
async def description_stub() -> AsyncIterator[description_pb2_grpc.DescriptionServiceAsyncStub]:
    with ModelThread("description") as thread:
        async with description.host(DescriptionSettings(), thread, Metrics()) as services, served(services) as channel:
            yield description_pb2_grpc.DescriptionServiceStub(channel)


@pytest.fixture
async def exemplars_channel(tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    with ModelThread("exemplars") as thread:
        async with (
            exemplars.host(ExemplarsSettings(store=tmp_path / "store"), thread, Metrics()) as services,
            served(services) as channel,
        ):
            yield channel


@pytest.fixture
def exemplars_stub(exemplars_channel: grpc.aio.Channel) -> exemplars_pb2_grpc.ExemplarsServiceAsyncStub:
    return exemplars_pb2_grpc.ExemplarsServiceStub(exemplars_channel)


Draw = Callable[..., Awaitable[type_pb2.Picture]]


@pytest.fixture
def draw(generation_stub: generation_pb2_grpc.GenerationServiceAsyncStub) -> Draw:
    """Draws a prompt by the real generator."""

    async def drawn(prompt: str, seed: int = 1) -> type_pb2.Picture:
        items = [generation_pb2.GenerateItem(prompt=prompt, seed=seed)]
        response = await generation_stub.GenerateImages(generation_pb2.GenerateImagesRequest(items=items))
        return response.images[0].picture

    return drawn


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> type_pb2.Picture:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return type_pb2.Picture(data=buffer.getvalue(), media_type=f"image/{form.lower()}")


def unreadable() -> dict[str, type_pb2.Picture]:
    """Pictures that every server refuses as PICTURE_UNREADABLE."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
    whole = encoded(noise)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    return {
        "truncated": type_pb2.Picture(data=whole.data[:500], media_type="image/png"),
        "no picture": type_pb2.Picture(data=b"hello", media_type="image/png"),
        "empty": type_pb2.Picture(),
        "another type": type_pb2.Picture(data=whole.data, media_type="image/jpeg"),
        "animated": encoded(frames[0], save_all=True, append_images=frames[1:]),
    }


def readable() -> dict[str, type_pb2.Picture]:
    """Unusual pictures that every server accepts."""
    return {
        "cmyk": encoded(Image.new("CMYK", (32, 20), (0, 200, 200, 0)), "JPEG"),
        "16-bit": encoded(Image.fromarray(np.full((20, 32), 0x9000, np.uint16))),
        "alpha": encoded(Image.new("RGBA", (32, 20), (255, 0, 0, 90))),
        "webp": encoded(Image.new("RGB", (32, 20), "red"), "WEBP"),
        "tiny": encoded(Image.new("RGB", (1, 1), "red")),
        "long": encoded(Image.new("RGB", (3000, 8), "red")),
    }


def too_large() -> type_pb2.Picture:
    """A picture of a few hundred bytes whose header says 30,000 × 30,000."""
    data = bytearray(encoded(Image.new("RGB", (8, 8))).data)
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return type_pb2.Picture(data=bytes(data), media_type="image/png")


async def refusal(call: Awaitable[object]) -> MaiaError:
    """Await a call that fails and return our error."""
    with pytest.raises(MaiaError) as caught, translated(server="server"):
        await call
    return caught.value
