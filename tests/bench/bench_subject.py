"""What the subject server adds to its model: throughput beside a bare loop, round trips, the cache, fairness."""

from __future__ import annotations

import asyncio
import io
import json
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np
import torch
from PIL import Image
from tests.bench import networks
from tests.bench.table import show
from tests.bench.timing import Times

from maia.services.subject.backends.networks.preprocessing import IMAGENET
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.calls import call_metadata
from maia.wire.channels import open_channel
from maia.wire.pictures import decode

CLIENTS, EACH = 16, 15
BATCHES = (8, 16, 32)
"""Sizes that the bare loop is tried with."""


def pictures(count: int, seed: int) -> list[type_pb2.Picture]:
    """Distinct JPEG pictures, 224 × 224, smooth as photographs are."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (14, 14, 3), np.uint8))
        buffer = io.BytesIO()
        coarse.resize((224, 224), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        made.append(type_pb2.Picture(data=buffer.getvalue(), media_type="image/jpeg"))
    return made


@asynccontextmanager
async def server(factory: str, *flags: str) -> AsyncIterator[subject_pb2_grpc.SubjectServiceAsyncStub]:
    """A subject server in a process of its own."""
    command = (sys.executable, "-m", "maia.services.subject", f"--model=python:tests.bench.networks:{factory}")
    process = await asyncio.create_subprocess_exec(
        *command, "--announce", "--end-with-stdin", "--log-level=warning", *flags, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    address = json.loads(await process.stdout.readline())["address"]
    try:
        async with open_channel(address) as channel:
            yield subject_pb2_grpc.SubjectServiceStub(channel)
    finally:
        process.stdin.close()
        await process.wait()


def request(
    factory: str, asked: Sequence[type_pb2.Picture], layer: str, unit: int = 0
) -> subject_pb2.MeasureUnitsRequest:
    return subject_pb2.MeasureUnitsRequest(
        subject=f"python:tests.bench.networks:{factory}",
        pictures=asked,
        units=[type_pb2.Unit(layer=layer, index=unit)],
    )


def bare_loop(module: torch.nn.Module, asked: Sequence[type_pb2.Picture], batch: int) -> float:
    """Seconds to decode, prepare and run pictures, batch by batch, with nothing around it."""
    started = time.perf_counter()
    with torch.inference_mode():
        for start in range(0, len(asked), batch):
            inputs = [IMAGENET.prepare(decode(picture.data)) for picture in asked[start : start + batch]]
            module(IMAGENET.batch(inputs, torch.device("cpu")))
    return time.perf_counter() - started


async def throughput(factory: str, make: Callable[[], torch.nn.Module], rounds: int) -> tuple[str, list[float]]:
    """Ratios of images per second, the server's to the loop's, pair by pair."""
    module = make().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sample = pictures(64, 0)
    best = min(BATCHES, key=lambda batch: min(bare_loop(module, sample, batch) for _ in range(2)))
    bares, ours = [], []
    async with server(factory, f"--batch={best}", "--cache-mb=0") as stub:
        await stub.MeasureUnits(request(factory, sample[:EACH], networks.DEEPEST))
        for number in range(rounds):
            asked = pictures(CLIENTS * EACH, number + 1)
            bares.append(await asyncio.to_thread(bare_loop, module, asked, best))
            started = time.perf_counter()
            calls = [
                stub.MeasureUnits(
                    request(factory, asked[client * EACH : (client + 1) * EACH], networks.DEEPEST),
                    metadata=call_metadata(session=f"client-{client}"),
                )
                for client in range(CLIENTS)
            ]
            await asyncio.gather(*calls)
            ours.append(time.perf_counter() - started)
    ratios = [bare / own for bare, own in zip(bares, ours, strict=True)]
    count = CLIENTS * EACH
    own, bare = count / statistics.median(ours), count / statistics.median(bares)
    share = f"{statistics.median(ratios):.1%} ({min(ratios):.1%} to {max(ratios):.1%})"
    told = f"{share}; {own:.1f} against {bare:.1f} images/s, batch {best}"
    return told, ratios


async def round_trips() -> tuple[Times, Times]:
    """One picture, a network that does nothing: measured for the first time, and again for another unit."""
    first: list[float] = []
    again: list[float] = []
    async with server("nothing") as stub:
        asked = pictures(60, 1)
        for picture in asked:
            for taken, unit in ((first, 0), (again, 1)):
                started = time.perf_counter()
                await stub.MeasureUnits(request("nothing", [picture], "0", unit))
                taken.append(time.perf_counter() - started)
    return Times(tuple(first[10:])), Times(tuple(again[10:]))


async def cached(rounds: int = 20) -> Times:
    """Fifteen pictures of ResNet-18 measured again for another unit of the same layer."""
    taken = []
    async with server("resnet18") as stub:
        asked = pictures(EACH, 1)
        await stub.MeasureUnits(request("resnet18", asked, networks.DEEPEST))
        for unit in range(1, rounds + 1):
            started = time.perf_counter()
            await stub.MeasureUnits(request("resnet18", asked[:1], networks.DEEPEST, unit))
            taken.append(time.perf_counter() - started)
    return Times(tuple(taken))


async def _rows() -> list[tuple[str, str, str]]:
    once, again = await round_trips()
    rows = [
        ("one picture, a network that does nothing: round trip", "3 ms", f"{once} ms"),
        ("the same picture for another unit", "3 ms", f"{again} ms"),
        ("ResNet-18, a picture measured again, another unit", "3 ms", f"{await cached()} ms"),
    ]
    for factory, make, rounds, wanted in (
        ("resnet18", networks.resnet18, 5, "≥ 95 %"),
        ("resnet152", networks.resnet152, 2, "≥ 97 %"),
    ):
        told, _ = await throughput(factory, make, rounds)
        rows.append((f"{CLIENTS} clients × {EACH} pictures, {factory}, share of a bare loop", wanted, told))
    return rows


def main() -> None:
    """Print the table."""
    show(asyncio.run(_rows()))
