"""Arrays that are larger than memory, written row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

AppendRow = Callable[[NDArray[Any]], None]


@contextmanager
def row_file(path: Path, dtype: DTypeLike, shape: Sequence[int]) -> Iterator[AppendRow]:
    """Write the same file as `np.save`, whose rows are appended one after the other.

    A full disk is an OSError, as it would not be in a file that is mapped into memory.

    Args:
        path: The file.
        dtype: Of the array; each row must have it.
        shape: Of the whole array.

    Raises:
        ValueError: A row is of another shape or type, or there are fewer or more rows than `shape` says.
    """
    whole = np.dtype(dtype)
    written = 0
    with path.open("wb") as file:

        def append(row: NDArray[Any]) -> None:
            nonlocal written
            if row.shape != tuple(shape[1:]) or row.dtype != whole or written == shape[0]:
                raise ValueError(f"row {written} of {path.name} is {row.dtype} {row.shape}, of {whole} {tuple(shape)}")
            file.write(np.ascontiguousarray(row).data)
            written += 1

        header = {"descr": np.lib.format.dtype_to_descr(whole), "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        yield append
    if written != shape[0]:
        raise ValueError(f"{path.name} has {written} rows of {shape[0]}")
