"""What one pass over a dataset keeps of each unit: its top pictures, and how often each value occurs.

Both take batches in the order of the dataset and hold a bounded amount, however long the dataset is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_BINS: Final = 1 << 16
_SIGN: Final = 0x8000
_INFINITY: Final = 0x7C00


class TopPictures:
    """The pictures with the highest activations of each unit of a layer, and their maps.

    Equal activations rank by dataset index, so that the result depends on nothing but the dataset.

    Attributes:
        activations: float32, shape (units, top), descending.
        indices: int64, shape (units, top), dataset indices.
        maps: float16, shape (units, top, h, w).
    """

    def __init__(self, units: int, top: int, map_shape: tuple[int, int]) -> None:
        self.activations = np.full((units, top), -np.inf, np.float32)
        self.indices = np.full((units, top), -1, np.int64)
        self.maps = np.zeros((units, top, *map_shape), np.float16)

    def add(self, start: int, activations: NDArray[np.float32], maps: NDArray[np.float16]) -> None:
        """Take the next pictures.

        Args:
            start: Dataset index of the first.
            activations: Shape (pictures, units).
            maps: Shape (pictures, units, h, w).
        """
        top = self.activations.shape[1]
        better = np.flatnonzero(activations.max(axis=0) > self.activations[:, -1])
        if not better.size:
            return
        new = activations[:, better].T
        indices = np.broadcast_to(np.arange(start, start + len(activations)), new.shape)
        values = np.concatenate([self.activations[better], new], axis=1)
        # A stable sort keeps equal ones in the order in which they came, which is that of the dataset.
        order = np.argsort(-values, axis=1, kind="stable")[:, :top]
        self.activations[better] = np.take_along_axis(values, order, axis=1)
        self.indices[better] = np.take_along_axis(
            np.concatenate([self.indices[better], indices], axis=1), order, axis=1
        )
        for unit, places in zip(better, order, strict=True):
            kept = self.maps[unit].copy()
            for rank, place in enumerate(places):
                self.maps[unit, rank] = kept[place] if place < top else maps[place - top, unit]


class ValueCounts:
    """How often each half-precision value occurs in the maps of each unit: exact quantiles in one pass.

    There are only 65,536 half-precision numbers, so counting them all takes 256 KiB a unit, however large the dataset.
    """

    def __init__(self, units: int) -> None:
        self._counts = np.zeros((units, _BINS), np.uint32)

    def add(self, maps: NDArray[np.float16]) -> None:
        """Count the values of maps of shape (pictures, units, h, w)."""
        bits = np.ascontiguousarray(maps.transpose(1, 0, 2, 3)).view(np.uint16).reshape(maps.shape[1], -1)
        for unit, values in enumerate(bits):
            self._counts[unit] += np.bincount(values, minlength=_BINS).astype(np.uint32)

    def quantile(self, q: float) -> NDArray[np.float32]:
        """Return the quantile of each unit, as `numpy.quantile` does on all values, interpolating linearly.

        Raises:
            ValueError: No values, or one that is not finite.
        """
        values, order = _ordered_values()
        counts = self._counts[:, order].astype(np.int64)
        below = np.cumsum(counts, axis=1)
        total = below[:, -1]
        if not total.all() or (total != self._counts.sum(axis=1, dtype=np.int64)).any():
            raise ValueError("a unit has no values, or its maps hold values that are not finite")
        position = q * (total - 1)
        low = np.floor(position).astype(np.int64)
        high = np.minimum(low + 1, total - 1)
        at_low, at_high = (
            np.array([values[np.searchsorted(row, rank, side="right")] for row, rank in zip(below, ranks, strict=True)])
            for ranks in (low, high)
        )
        quantiles: NDArray[np.float64] = at_low + (at_high - at_low) * (position - low)
        return quantiles.astype(np.float32)


def _ordered_values() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """All finite half-precision numbers from least to greatest, and the bit pattern of each."""
    bits = np.arange(_BINS, dtype=np.uint16)
    bits = bits[(bits & (_SIGN - 1)) < _INFINITY]
    negative, positive = bits[bits >= _SIGN][::-1], bits[bits < _SIGN]
    order = np.concatenate([negative, positive])
    return order.view(np.float16).astype(np.float64), order.astype(np.intp)
