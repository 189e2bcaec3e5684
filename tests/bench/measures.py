"""What is measured of every runtime, the same way for all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from tests.bench.runtimes import FIRST, TWENTY_LINES, Opened, Runtime
from tests.bench.timing import Times, in_turn, timed

__all__ = ["block_times", "first_result", "overrun"]

THINK_S = 0.02
"""What passes between two blocks of an agent at the least. What a sandbox does after a block falls into it."""


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
    """How long a warm block of twenty lines takes each session: after a while, and when it follows another at once."""
    apart = {name: partial(_block, session) for name, session in sessions.items()}
    at_once = {name: partial(_second_block, session) for name, session in sessions.items()}
    return {
        f"{THINK_S * 1000:.0f} ms apart": await in_turn(apart, rounds=rounds, pause_s=THINK_S),
        "back to back": await in_turn(at_once, rounds=rounds),
    }


async def _block(session: Opened) -> float:
    return await timed(session.run(TWENTY_LINES))


async def _second_block(session: Opened) -> float:
    await session.run(TWENTY_LINES)
    return await _block(session)


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
