"""How the values of units are distributed: counts in bins of fixed borders, so that counts of parts can be added.

A bin holds the float32 numbers with the same sign, exponent and first seven bits of the fraction, from 2^-40 to 2^24;
smaller ones are in the two bins next to zero, larger ones in the outermost. A quantile lies between two neighbours among
the sorted values. What is returned for it is in the bin of the lower one, however far the upper one is: off from the
lower one by no more than the width of a bin, a 128th of it (0.8 %), or by 2^-40. One among the outermost is not known.
Counts are whole numbers: their sum does not depend on who adds which part first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["BINS", "ERROR", "Distribution", "ValueSketch"]

_LEAST: Final = -40
_MOST: Final = 24
_FRACTION_BITS: Final = 7
_HALF: Final = (_MOST - _LEAST) << _FRACTION_BITS
_FIRST: Final = (127 + _LEAST) << _FRACTION_BITS  # float32's exponent is biased by 127

BINS: Final = 2 * _HALF
"""Of each unit."""

ERROR: Final = 2.0**-_FRACTION_BITS
"""Of a quantile, relative to the lower of the two values that it lies between."""

_CHUNK: Final = 1 << 15
"""Values that are sorted into bins at once on the host: what is made of them on the way stays in a core's cache."""

_INT32_MAX: Final = (1 << 31) - 1


class ValueSketch:
    """Counts of a layer's values, on the device where they are computed."""

    def __init__(self, units: int, most: int) -> None:
        """Count nothing yet.

        Args:
            units: Of the layer.
            most: Values of one unit that may come.
        """
        self._units = units
        dtype = torch.int32 if most <= _INT32_MAX else torch.int64
        self._counts = torch.zeros(units * BINS, dtype=dtype)
        self._one = torch.ones(1, dtype=dtype)
        self._zeros = torch.arange(units, dtype=torch.int64).mul_(BINS).add_(_HALF)
        self._places = np.int32 if units * BINS <= _INT32_MAX else np.int64

    def add(self, values: Tensor, units: slice) -> None:
        """Count values. Several threads may count those of different units.

        Args:
            values: float32, (any, units of the layer), finite, in memory order.
            units: Which of its units to count.
        """
        if values.device.type == "cpu":
            self.add_on_host(values.numpy(), units)
        else:
            self.add_on_device(values, units)

    def add_on_device(self, values: Tensor, units: slice) -> None:
        """Count values where they are; see `add`."""
        if values.device != self._counts.device:
            self._counts, self._one, self._zeros = (
                tensor.to(values.device) for tensor in (self._counts, self._one, self._zeros)
            )
        upper = values[:, units].contiguous().view(torch.int16)[:, 1::2]
        size = (upper & 0x7FFF).sub_(_FIRST).clamp_(0, _HALF - 1)
        places = size.bitwise_xor_(upper >> 15).to(torch.int64) + self._zeros[units]
        self._counts.scatter_add_(0, places.view(-1), self._one.expand(places.numel()))

    def add_on_host(self, values: NDArray[np.float32], units: slice) -> None:
        """Count values, piece by piece and without new arrays; the same as `add_on_device`, in half the time."""
        whole = values.view(np.int32)[:, units]
        zeros = self._zeros[units].numpy().astype(self._places)
        rows = min(max(1, _CHUNK // len(zeros)), len(whole))
        all_places, all_signs = (np.empty((rows, len(zeros)), self._places) for _ in range(2))
        for start in range(0, len(whole), max(1, rows)):
            chunk = whole[start : start + rows]
            places, signs = all_places[: len(chunk)], all_signs[: len(chunk)]
            np.right_shift(chunk, 16, out=places)
            np.right_shift(chunk, 31, out=signs)
            np.bitwise_and(places, 0x7FFF, out=places)
            np.subtract(places, _FIRST, out=places)
            np.clip(places, 0, _HALF - 1, out=places)
            np.bitwise_xor(places, signs, out=places)  # n for a number above zero, -1 - n for one below
            np.add(places, zeros, out=places)
            self._counts.index_add_(0, torch.from_numpy(places).view(-1), self._one.expand(places.size))

    def counts(self, units: slice = slice(None)) -> NDArray[np.int64]:
        """Return how many values are in each bin, int64, (units, BINS), from the least bin to the greatest."""
        return self._counts.view(self._units, BINS)[units].cpu().numpy().astype(np.int64)

    def sparse(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the bins that are not empty, numbered through all units, and what is in them."""
        places = self._counts.nonzero().view(-1)
        return places.cpu().numpy(), self._counts[places].cpu().numpy().astype(np.int64)

    def merge(self, places: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Add what another sketch's `sparse` returned."""
        added = torch.from_numpy(counts).to(self._counts)
        self._counts.index_add_(0, torch.from_numpy(places).to(self._counts.device), added)


@dataclass(frozen=True, slots=True)
class Distribution:
    """What the counts of a layer's units say.

    Attributes:
        counts: int64, (units, BINS).
    """

    counts: NDArray[np.int64]

    def quantile(self, q: float) -> NDArray[np.float32]:
        """Return a quantile of each unit's values; NaN if nobody knows it.

        It is in the bin of the lower of the two values that it lies between, interpolated there and not towards the
        upper one. NaN is returned for a unit without values, and for a quantile of which is known only that it is beyond ±2^24.
        """
        borders = _borders()
        below = np.cumsum(self.counts, axis=1)
        total = below[:, -1]
        wanted = q * (total - 1)
        found = np.full(len(total), np.nan)
        for unit in np.flatnonzero(total):
            bin_ = int(np.searchsorted(below[unit], wanted[unit], side="right"))
            if bin_ in {0, BINS - 1}:
                continue
            count = self.counts[unit, bin_]
            share = (wanted[unit] - (below[unit, bin_] - count) + 0.5) / count
            found[unit] = borders[bin_] + (borders[bin_ + 1] - borders[bin_]) * min(max(share, 0.0), 1.0)
        return found.astype(np.float32)

    def density(self) -> NDArray[np.float64]:
        """Return the share of each unit's values that are above 2^-40."""
        above, total = self.counts[:, _HALF + 1 :].sum(axis=1), self.counts.sum(axis=1)
        share: NDArray[np.float64] = above / np.maximum(total, 1)
        return share

    def histogram(self, bins: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return wider bins of equal width, from each unit's least value to its greatest.

        Args:
            bins: How many.

        Returns:
            Edges, float32, (units, bins + 1), and counts, int64, (units, bins). What is in one bin of the sketch is
            counted where that bin's middle is.
        """
        borders = _borders()
        middles = (borders[:-1] + borders[1:]) / 2
        units = len(self.counts)
        edges, found = np.zeros((units, bins + 1)), np.zeros((units, bins), np.int64)
        for unit, counts in enumerate(self.counts):
            there = np.flatnonzero(counts)
            if not len(there):
                continue
            low, high = borders[there[0]], borders[there[-1] + 1]
            edges[unit] = np.linspace(low, high, bins + 1)
            places = np.clip(((middles[there] - low) / (high - low) * bins).astype(np.intp), 0, bins - 1)
            np.add.at(found[unit], places, counts[there])
        return edges.astype(np.float32), found


@cache
def _borders() -> NDArray[np.float64]:
    """The BINS + 1 borders, ascending; zero is in the middle."""
    patterns = (np.arange(1, _HALF + 1, dtype=np.uint32) + _FIRST) << 16
    above = patterns.view(np.float32).astype(np.float64)
    return np.concatenate([-above[::-1], [0.0], above])
