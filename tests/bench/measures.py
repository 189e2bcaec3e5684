"""What is measured of every runtime, the same way for all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial

from tests.bench.runtimes import FIRST, TWENTY_LINES, Opened, Runtime
from tests.bench.timing import Times, in_turn, timed

__all__ = ["CALM_S", "block_times", "first_result", "overrun"]

THINK_S = 0.02
"""What passes between two blocks of an agent at the least. What a sandbox does after a block falls into it."""

CALM_S = 0.05
"""Between two measurements, so that what one runtime still does after a block does not burden the next."""


async def first_result(runtime: Runtime) -> float:
    """Seconds from asking for a session to the output of its first block; closing is not counted."""
    start = time.perf_counter()
    session = await runtime.open()
    try:
        printed = await session.run(FIRST)
        taken = time.perf_counter() - start
    finally:
        await session.close()
    assert printed == "3\n", printed
    return taken


async def block_times(sessions: Mapping[str, Opened], *, rounds: int) -> dict[str, dict[str, Times]]:
    """How long a warm block of twenty lines takes each session that has run another a moment before."""
    found = {}
    for pace, pause_s in ((f"{THINK_S * 1000:.0f} ms apart", THINK_S), ("back to back", 0.0)):
        ways = {name: partial(_second_block, session, pause_s) for name, session in sessions.items()}
        found[pace] = await in_turn(ways, rounds=rounds, pause_s=CALM_S)
    return found


async def _second_block(session: Opened, pause_s: float) -> float:
    await session.run(TWENTY_LINES)
    if pause_s:
        await asyncio.sleep(pause_s)
    return await timed(session.run(TWENTY_LINES))


async def overrun(runtime: Runtime, limit_s: float = 0.2) -> tuple[float, bool]:
    """Seconds that a runaway block goes on after its limit, and whether a variable of an earlier block is still there.

    Raises:
        UnavailableError: It never ends.
    """
    session = await runtime.open(limit_s)
    try:
        await session.run("kept = 1")
        start = time.perf_counter()
        await session.overrun(limit_s)
        taken = time.perf_counter() - start - limit_s
        try:
            return taken, await session.run("print(kept)") == "1\n"
        except RuntimeError:
            return taken, False
    finally:
        await session.close()
