"""What the gateway adds to a server's own answer: the same requests through it and by a bare gRPC stub, in turns."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
from tests.bench.table import show

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.orchestrator.clients import Addresses, open_servers
from maia.orchestrator.conversation import Part
from maia.orchestrator.events import UnitName
from maia.orchestrator.gateway import Gateway, GatewayLimits
from maia.orchestrator.images import ImageTable
from maia.orchestrator.journal import JournalWriter
from maia.orchestrator.record import Record
from maia.orchestrator.toolbox import Study, run_tag
from maia.sandbox import ImageRef
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.exemplars.hosting import host as host_exemplars
from maia.services.exemplars.settings import ExemplarsSettings
from maia.services.generation.hosting import host as host_generation
from maia.services.generation.settings import GenerationSettings
from maia.services.subject.hosting import host as host_subject
from maia.services.subject.settings import SubjectSettings
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.channels import open_channel
from maia.wire.logs import configure_logs
from maia.wire.server import running

ROUNDS = 40
UNIT = UnitName("scene-neurons", "mono", 0)


class Nowhere:
    """A sink that drops what it is shown."""

    def call_begins(self) -> None:
        pass

    def show(self, parts: Sequence[Part]) -> None:
        """Drop them."""


@dataclass(frozen=True)
class Bench:
    """A gateway, and a bare channel to the same server."""

    gateway: Gateway
    images: ImageTable
    channel: grpc.aio.Channel

    async def draw(self, count: int) -> list[ImageRef]:
        drawn = await self.gateway.call("tools.text2image", {"prompts": ["a red circle"] * count})
        assert isinstance(drawn, list)
        return drawn

    async def compare_drawing(self, count: int) -> tuple[str, str, str]:
        stub = generation_pb2_grpc.GenerationServiceStub(self.channel)
        items = [generation_pb2.GenerateItem(prompt="a red circle", seed=seed) for seed in range(count)]
        request = generation_pb2.GenerateImagesRequest(items=items)
        return await _compared(f"text2image, {count}", lambda: stub.GenerateImages(request), lambda: self.draw(count))

    async def compare_measuring(self, count: int) -> tuple[str, str, str]:
        refs = await self.draw(count)
        stub = subject_pb2_grpc.SubjectServiceStub(self.channel)
        request = subject_pb2.MeasureUnitsRequest(
            subject=UNIT.model,
            pictures=[type_pb2.Picture(data=self.images.picture(ref.id).data, media_type="image/png") for ref in refs],
            units=[type_pb2.Unit(layer=UNIT.layer, index=UNIT.index)],
        )
        return await _compared(
            f"call_neuron, {count}",
            lambda: stub.MeasureUnits(request),
            lambda: self.gateway.call("system.call_neuron", {"images": refs}),
        )

    async def displaying(self, count: int) -> tuple[str, str, str]:
        refs = await self.draw(count)
        answer = await self.gateway.call("system.call_neuron", {"images": refs})
        assert isinstance(answer, tuple)
        started = time.perf_counter()
        await self.gateway.call("tools.display", {"items": tuple(answer[1])})
        return f"display of {count} views, drawn and encoded now", "", f"{_ms(time.perf_counter() - started)} ms"


def main() -> None:
    """Print the figures."""
    configure_logs(level="error", log_format="console")
    show(asyncio.run(_figures()))


async def _figures() -> list[tuple[str, str, str]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        thread = stack.enter_context(ModelThread("bench"))
        entered, metrics = stack.enter_async_context, Metrics()
        services = [
            *await entered(host_subject(SubjectSettings(model=(UNIT.model,)), thread, metrics)),
            *await entered(host_generation(GenerationSettings(), thread, metrics)),
            *await stack.enter_async_context(
                host_exemplars(ExemplarsSettings(store=folder / "store"), thread, Metrics())
            ),
        ]
        at = (await stack.enter_async_context(running(services))).address
        channel = await stack.enter_async_context(open_channel(at))
        servers = await stack.enter_async_context(open_servers(Addresses(at, at, at, at, at)))
        record = Record(stack.enter_context(JournalWriter(folder / "unit")))
        images = ImageTable(record, tag=run_tag(0, UNIT))
        study = Study(servers, images, UNIT, "", seed=0)
        gateway = Gateway(study, record, Nowhere(), GatewayLimits(calls=100_000))
        bench = Bench(gateway, images, channel)
        return [
            await bench.compare_drawing(1),
            await bench.compare_drawing(15),
            await bench.compare_measuring(1),
            await bench.compare_measuring(15),
            await bench.displaying(15),
        ]


async def _compared(
    what: str, bare: Callable[[], Awaitable[object]], through: Callable[[], Awaitable[object]]
) -> tuple[str, str, str]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for side, call in zip(seconds, (bare, through), strict=True):
            started = time.perf_counter()
            await call()
            side.append(time.perf_counter() - started)
    server, gateway = (statistics.median(side) for side in seconds)
    beyond = statistics.median(b - a for a, b in zip(*seconds, strict=True))
    reached = f"{_ms(beyond)} ms ({_ms(gateway)} / {_ms(server)} ms = {gateway / server:.2f})"
    return f"{what}: gateway beyond the server", "≤ 3 ms", reached


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"
