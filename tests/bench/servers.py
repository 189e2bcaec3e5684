"""Servers in processes of their own, as an operator starts them, and what benches send them."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import grpc
import numpy as np
from PIL import Image
from tests.bench.children import child

from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.channels import open_channel
from maia.wire.tls import ClientCredentials

__all__ = ["hosted", "pictures", "request", "server", "subject_server"]

SIDE = 224


@asynccontextmanager
async def server(
    service: str,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    credentials: ClientCredentials | None = None,
) -> AsyncIterator[grpc.aio.Channel]:
    """A server, and a channel to it. Neither it nor what it is compared with imports torchvision.

    Args:
        service: For example "subject".
        flags: Of its command line.
        environment: Besides this process's.
        credentials: What it is shown.
    """
    program = ("-m", "tests.bench.without_torchvision", f"maia.services.{service}")
    settings = ("--announce", "--end-with-stdin", "--log-level=warning", *flags)
    async with (
        child(*program, *settings, environment=environment) as process,
        open_channel(json.loads(await process.line())["address"], credentials) as channel,
    ):
        yield channel


@asynccontextmanager
async def subject_server(
    model: str,
    *flags: str,
    environment: Mapping[str, str] | None = None,
    credentials: ClientCredentials | None = None,
) -> AsyncIterator[subject_pb2_grpc.SubjectServiceAsyncStub]:
    """A subject server that hosts one model."""
    async with server(
        "subject", f"--model={model}", *flags, environment=environment, credentials=credentials
    ) as channel:
        yield subject_pb2_grpc.SubjectServiceStub(channel)


def hosted(factory: str) -> str:
    """Return the name under which a subject server hosts one of `networks`."""
    return f"python:tests.bench.networks:{factory}"


def request(
    factory: str, asked: Sequence[type_pb2.Picture], layer: str, unit: int = 0
) -> subject_pb2.MeasureUnitsRequest:
    """Return what asks a network for its answers to pictures, maps included."""
    return subject_pb2.MeasureUnitsRequest(
        subject=hosted(factory), pictures=asked, units=[type_pb2.Unit(layer=layer, index=unit)]
    )


def pictures(count: int, seed: int) -> list[type_pb2.Picture]:
    """Distinct JPEG pictures, 224 × 224, smooth as photographs are; the same for the same seed."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (14, 14, 3), np.uint8))
        buffer = io.BytesIO()
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        made.append(type_pb2.Picture(data=buffer.getvalue(), media_type="image/jpeg"))
    return made
