"""Times of several ways to do the same thing, taken in turn so that the machine's noise falls on all of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

__all__ = ["Times", "Way", "in_turn", "timed"]

Way = Callable[[], Awaitable[float]]
"""Does the thing once and returns the seconds that it took; what it does before and after is not counted."""

SLOW_S = 0.1
SLOW_EVERY = 5


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds, one for each time that the thing was done."""

    seconds: tuple[float, ...]

    @property
    def median_ms(self) -> float:
        return statistics.median(self.seconds) * 1000

    @property
    def p90_ms(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.9)] * 1000

    def __str__(self) -> str:
        """Milliseconds: the median and, in brackets, the 90th percentile."""
        return f"{_figure(self.median_ms)} ({_figure(self.p90_ms)})"


def _figure(ms: float) -> str:
    return f"{ms:,.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}"


async def in_turn(ways: Mapping[str, Way], *, rounds: int, pause_s: float = 0) -> dict[str, Times]:
    """Do each thing twice uncounted, then in each round one after another.

    Args:
        ways: By name. One that takes over 0.1 s, what is not counted included, takes part in every fifth round only.
        rounds: How often.
        pause_s: Rest before each.
    """
    for way in ways.values():
        await way()  # what only the first time takes
    slow = {name: await timed(way()) > SLOW_S for name, way in ways.items()}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            if slow[name] and number % SLOW_EVERY:
                continue
            await asyncio.sleep(pause_s)
            taken[name].append(await way())
    return {name: Times(tuple(seconds)) for name, seconds in taken.items()}


async def timed(what: Awaitable[object]) -> float:
    """Seconds until it is done."""
    start = time.perf_counter()
    await what
    return time.perf_counter() - start
