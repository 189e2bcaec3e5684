"""What traces cost: the same request, answered from the cache, with its spans sent to a collector and without."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from tests.bench.children import child
from tests.bench.ratios import Round, interval, measured_in_pairs
from tests.bench.servers import hosted, pictures, request, subject_server
from tests.bench.table import show

from maia.subject.v1 import subject_pb2_grpc
from maia.wire import tracing

PICTURES = 15
ROUNDS = 30
CALLS = 20
"""In a row, in each round: one alone is a millisecond or two, and many spans are sent at a time."""


async def traced_against_untraced() -> list[tuple[str, str, str]]:
    """Seconds with spans on both sides over those without."""
    asked = request("nothing", pictures(PICTURES, 1), "0")

    def calling(stub: subject_pb2_grpc.SubjectServiceAsyncStub, *, traced: bool) -> Round:
        async def ask() -> None:
            if not traced:
                await stub.MeasureUnits(asked)
                return
            with tracing.span("MeasureUnits", kind="client"):
                await stub.MeasureUnits(asked, metadata=tracing.outgoing())

        async def calls(_: int) -> float:
            started = time.perf_counter()
            for _ in range(CALLS):
                await ask()
            return time.perf_counter() - started

        return calls

    async with AsyncExitStack() as stack:
        endpoint = (await (await stack.enter_async_context(child("-m", "tests.bench.collector"))).line()).strip()
        with tracing.exporting(endpoint, "bench"):
            model = hosted("nothing")
            off = await stack.enter_async_context(subject_server(model))
            on = await stack.enter_async_context(subject_server(model, f"--otlp-endpoint={endpoint}"))
            ways = calling(on, traced=True), calling(off, traced=False)
            for way in ways:
                await way(0)  # connected, and in the cache
            pairs = await measured_in_pairs(*ways, ROUNDS)
    told = f"{interval(pairs.slowdowns, '.2f')}; {pairs.our_s / CALLS * 1e3:.2f} ms"
    return [(f"traces, {PICTURES} pictures from the cache: times of no traces", "≤ 1.1", told)]


def main() -> None:
    """Print the ratio."""
    show(asyncio.run(traced_against_untraced()))
