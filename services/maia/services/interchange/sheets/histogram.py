"""A unit's values as bars from 0 to 1, for whoever draws them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maia.services.exemplars.model import Statistics

__all__ = ["Histogram", "histogram_of"]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Bars of equal width.

    Attributes:
        heights: From 0 to 1, of the logarithm of the counts: most of a unit's values lie in few bars.
        low: Value at the left end.
        high: Value at the right end.
        threshold: Where it lies between them, from 0 to 1; None if unknown.
        zero: Where 0 lies; None if it does not lie between them.
    """

    heights: tuple[float, ...]
    low: float
    high: float
    threshold: float | None
    zero: float | None


def histogram_of(known: Statistics) -> Histogram | None:
    """Return the bars; None if the values are unknown, or all the same."""
    if known.edges is None or known.histogram is None:
        return None
    low, high = float(known.edges[0]), float(known.edges[-1])
    if not (np.isfinite([low, high]).all() and low < high and known.histogram.any()):
        return None
    logarithms = np.log1p(known.histogram.astype(np.float64))

    def place(value: float) -> float:
        return min(max((value - low) / (high - low), 0.0), 1.0)

    return Histogram(
        tuple((logarithms / logarithms.max()).tolist()),
        low,
        high,
        None if known.threshold is None else place(known.threshold),
        place(0.0) if low <= 0 <= high else None,
    )
