"""Two ways to do the same thing, measured in pairs: the machine's noise falls on both; what is told is their ratio."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

__all__ = ["Pairs", "interval", "measured_in_pairs"]

Round = Callable[[int], Awaitable[float]]
"""Does the thing once for the round of that number; returns the seconds that it took."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of both ways, round by round."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def speedups(self) -> list[float]:
        """How many times as fast ours was, in each round."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def slowdowns(self) -> list[float]:
        """How many times as long ours took, in each round."""
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]

    @property
    def our_s(self) -> float:
        """Median of our way."""
        return statistics.median(self.ours)

    @property
    def their_s(self) -> float:
        """Median of the other way."""
        return statistics.median(self.theirs)


async def measured_in_pairs(ours: Round, theirs: Round, rounds: int) -> Pairs:
    """Do both in each round, by turns one or the other first, so that the machine's drift favours neither."""
    taken: dict[Round, list[float]] = {ours: [], theirs: []}
    for number in range(rounds):
        for way in (ours, theirs) if number % 2 else (theirs, ours):
            taken[way].append(await way(number))
    return Pairs(tuple(taken[ours]), tuple(taken[theirs]))


def interval(ratios: Sequence[float], form: str) -> str:
    """Tell the median of ratios and, in brackets, the smallest and the largest.

    Args:
        ratios: One for each round.
        form: Format of one, for example ".1%".
    """
    return f"{statistics.median(ratios):{form}} ({min(ratios):{form}} to {max(ratios):{form}})"
