"""What the generation server adds to a pipeline: eight clients with a prompt each, beside one call with all eight."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from tests.bench.companion import companion
from tests.bench.pipelines import GUIDANCE, SIDE, STEPS, flux
from tests.bench.ratios import interval, measured_in_pairs
from tests.bench.servers import server
from tests.bench.table import show
from tests.unit.services.runtime.tiny_pipelines import saved

from maia.generation.v1 import generation_pb2, generation_pb2_grpc
from maia.wire.calls import call_metadata

CLIENTS = 8
ROUNDS = 6
DELAYS_MS = (0, 20)
"""How long the server lets a prompt wait for others while it is idle."""


async def throughput(model: str, delay_ms: int) -> str:
    """Return the share of the bare call's pictures per second that the server reaches, none of them drawn before."""
    flags = {
        "backend": "diffusers",
        "model": model,
        "device": "cpu",
        "width": SIDE,
        "height": SIDE,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "batch": CLIENTS,
        "batch-delay-ms": delay_ms,
        "results-mb": 0,
    }
    async with (
        companion("bare_pipeline", model) as bare,
        server("generation", *(f"--{name}={value}" for name, value in flags.items())) as channel,
    ):
        stub = generation_pb2_grpc.GenerationServiceStub(channel)

        async def ours(number: int) -> float:
            started = time.perf_counter()
            calls = [
                stub.GenerateImages(
                    generation_pb2.GenerateImagesRequest(items=[item]),
                    metadata=call_metadata(session=f"client-{client}"),
                )
                for client, item in enumerate(_items(number))
            ]
            await asyncio.gather(*calls)
            return time.perf_counter() - started

        async def theirs(number: int) -> float:
            items = _items(number)
            return await bare.ask(prompts=[item.prompt for item in items], seeds=[item.seed for item in items])

        await measured_in_pairs(ours, theirs, 1)  # what only the first call takes
        pairs = await measured_in_pairs(ours, theirs, ROUNDS)
    share = interval(pairs.speedups, ".1%")
    return f"{share}; {CLIENTS / pairs.our_s:.2f} against {CLIENTS / pairs.their_s:.2f} pictures/s"


def _items(number: int) -> list[generation_pb2.GenerateItem]:
    return [
        generation_pb2.GenerateItem(prompt=f"{client} red apples on a table", seed=CLIENTS * number + client)
        for client in range(CLIENTS)
    ]


async def _rows() -> list[tuple[str, str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        model = str(saved(flux, Path(folder) / "model"))
        return [
            (
                f"{CLIENTS} clients × 1 prompt, --batch-delay-ms {delay_ms}: share of one call's throughput",
                "≥ 90 %",
                await throughput(model, delay_ms),
            )
            for delay_ms in DELAYS_MS
        ]


def main() -> None:
    """Print the table."""
    show(asyncio.run(_rows()))
