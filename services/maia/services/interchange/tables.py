"""Files of comma-separated numbers, as NumPy's `savetxt` writes them; those of one unit or one column too."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maia.services.interchange.failures import file_damaged, reading

__all__ = ["read_numbers", "read_table", "whole", "write_table"]

_EXACT: Final = 2.0**53
_NUMBER_BYTES: Final = 64
"""Of a number in a table at most: NumPy's longest form has 26."""
_LEAST_BOUND: Final = 4096


def read_table(path: Path, most: int) -> NDArray[np.float64]:
    """Return a table.

    Args:
        path: Of the file.
        most: Numbers that it should have, in whatever form; a much larger file is not read.

    Returns:
        float64, shape (lines, columns).

    Raises:
        PreconditionError: FILES_DAMAGED or FILES_UNREADABLE.
    """
    try:
        with reading(path):
            size = path.stat().st_size
            if size > _LEAST_BOUND + _NUMBER_BYTES * most:
                raise file_damaged(path, f"has {size} bytes, far too many for {most} numbers")
            text = path.read_text(encoding="utf-8")
        if not text.strip():
            raise ValueError("it is empty")
        return np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
    except ValueError as error:
        raise file_damaged(path, f"is no table of numbers: {str(error).partition(';')[0]:.200}") from error


def read_numbers(path: Path, most: int) -> NDArray[np.float64]:
    """Return a list of numbers, written in one line or in many.

    Args:
        path: Of the file.
        most: As of `read_table`.

    Returns:
        float64, 1-D.

    Raises:
        PreconditionError: FILES_DAMAGED or FILES_UNREADABLE.
    """
    table = read_table(path, most)
    if 1 not in table.shape:
        raise file_damaged(path, f"is a table of {table.shape[0]} × {table.shape[1]}, not a list")
    return table.ravel()


def whole(path: Path, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return numbers of a file as int64.

    Raises:
        PreconditionError: FILES_DAMAGED: one is not whole, or too large to be told from its neighbour.
    """
    wrong = ~((np.abs(numbers) < _EXACT) & (np.floor(numbers) == numbers))
    if wrong.any():
        raise file_damaged(path, f"holds {numbers[wrong][0]}, which is no whole number")
    return numbers.astype(np.int64)


def write_table(path: Path, values: NDArray[np.floating] | NDArray[np.int64], form: str) -> None:
    """Write numbers, each formatted by `form`; those of a 1-D array one a line."""
    np.savetxt(path, values, fmt=form, delimiter=",")
