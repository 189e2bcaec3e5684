"""Many clients at once: pictures per second through the server, beside a bare loop over the same pictures."""

from __future__ import annotations

import asyncio
import time

from tests.bench import networks
from tests.bench.companion import Companion, companion
from tests.bench.ratios import Pairs, interval, measured_in_pairs
from tests.bench.servers import hosted, pictures, request, subject_server

from maia.wire.calls import call_metadata

CLIENTS, EACH = 16, 15
BATCHES = (8, 16, 32)
"""Sizes that the bare loop is tried with; the server gets the one at which the loop is fastest."""

TRIED = 32
"""Pictures that each is tried on."""


async def throughput(factory: str, rounds: int) -> str:
    """Return the share of the loop's pictures per second that the server reaches, none of them seen before."""
    count = CLIENTS * EACH
    async with companion("bare_network", factory, "batches") as loop:
        batch = await _best(loop)
        async with subject_server(hosted(factory), f"--batch={batch}") as stub:

            async def ours(number: int) -> float:
                asked = pictures(count, number)
                started = time.perf_counter()
                calls = [
                    stub.MeasureUnits(
                        request(factory, asked[client * EACH : (client + 1) * EACH], networks.DEEPEST),
                        metadata=call_metadata(session=f"client-{client}"),
                    )
                    for client in range(CLIENTS)
                ]
                await asyncio.gather(*calls)
                return time.perf_counter() - started

            async def theirs(number: int) -> float:
                return await loop.ask(seed=number, count=count, batch=batch)

            await stub.MeasureUnits(request(factory, pictures(EACH, rounds), networks.DEEPEST))
            pairs = await measured_in_pairs(ours, theirs, rounds)
    return _told(pairs, count, batch)


async def _best(loop: Companion) -> int:
    await loop.ask(seed=0, count=TRIED, batch=max(BATCHES))
    seconds = {
        batch: min([await loop.ask(seed=number, count=TRIED, batch=batch) for number in range(2)]) for batch in BATCHES
    }
    return min(BATCHES, key=seconds.__getitem__)


def _told(pairs: Pairs, count: int, batch: int) -> str:
    share = interval(pairs.speedups, ".1%")
    return f"{share}; {count / pairs.our_s:.1f} against {count / pairs.their_s:.1f} pictures/s, batch {batch}"
