"""Arrays written row by row are the files that `np.save` writes, or an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maia.services.exemplars.row_file import row_file


@pytest.mark.parametrize("kind", [np.uint8, np.float32, np.int64])
@pytest.mark.parametrize("shape", [(3, 4, 2), (1, 1), (5,), (0, 7)])
def test_it_is_the_file_that_numpy_writes(kind: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    np.save(tmp_path / "whole.npy", array)
    with row_file(tmp_path / "rows.npy", kind, shape) as append:
        for row in array:
            append(np.asarray(row))
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_rows_need_not_lie_in_one_piece(tmp_path: Path) -> None:
    array = np.arange(24).reshape(2, 4, 3).transpose(0, 2, 1)
    with row_file(tmp_path / "rows.npy", np.int64, (2, 3, 4)) as append:
        for row in array:
            append(row)
    assert np.array_equal(np.load(tmp_path / "rows.npy"), array)


@pytest.mark.parametrize(
    "rows",
    [
        [np.zeros(3, np.uint8)],
        [np.zeros(3, np.uint8)] * 3,
        [np.zeros(4, np.uint8)] * 2,
        [np.zeros(3, np.int64)] * 2,
    ],
    ids=["too few", "too many", "of another shape", "of another type"],
)
def test_other_rows_than_were_announced_are_refused(rows: list[Any], tmp_path: Path) -> None:
    def write() -> None:
        with row_file(tmp_path / "rows.npy", np.uint8, (2, 3)) as append:
            for row in rows:
                append(row)

    with pytest.raises(ValueError, match=r"rows\.npy"):
        write()
