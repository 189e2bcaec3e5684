"""Sums without rounding, so that they do not depend on who adds what first.

Each number is cut into pieces of 32 bits at fixed places, from 2^128 down to 2^-160, and pieces of one place are added
as whole numbers. That holds every sum of fewer than 2^20 float32 numbers in float64, and 2^31 of those sums.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ExactSums"]

_EXPONENTS: Final = tuple(range(128, -161, -32))
_LEAST: Final = -_EXPONENTS[-1]


class ExactSums:
    """One sum for each unit.

    Attributes:
        pieces: int64, (units, places).
    """

    def __init__(self, units: int) -> None:
        """All are zero."""
        self.pieces: NDArray[np.int64] = np.zeros((units, len(_EXPONENTS)), np.int64)

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Add to each.

        Args:
            numbers: float64, (any, units), finite.
        """
        rest = numbers
        for place, exponent in enumerate(_EXPONENTS):
            piece = np.trunc(np.ldexp(rest, -exponent))
            self.pieces[:, place] += piece.astype(np.int64).sum(axis=0)
            rest = rest - np.ldexp(piece, exponent)

    def merge(self, pieces: NDArray[np.int64]) -> None:
        """Add another's `pieces`."""
        self.pieces += pieces

    def means(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each sum divided by a count, float64, (units,), rounded once."""
        scale = [1 << (exponent + _LEAST) for exponent in _EXPONENTS]
        sums = (sum(piece * one for piece, one in zip(of_unit, scale, strict=True)) for of_unit in self.pieces.tolist())
        return np.array([total / (count << _LEAST) for total, count in zip(sums, counts.tolist(), strict=True)])
