"""The files of one layer, as MAIA and MILAN lay them out.

MILAN's: `images.npy` (units, top, 3, height, width), `masks.npy` (units, top, 1, height, width) of 0 and 1 or 0 and
255, `activations.csv`, and perhaps `ids.csv`, `units.npy` and `thresholds.csv`. MAIA's synthetic neurons: `images.npy`
(units, top, height, width, 3), `masks.npy` with 0 to 255 and one value or three equal ones a pixel, `activations.csv`.

Each row is mapped into memory when it is asked for and let go with the array: a mapping of the whole file would count
every page that was ever read as this process' memory.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.model import MAX_UNITS
from maia.services.interchange.failures import file_damaged, files_missing
from maia.services.interchange.tables import read_numbers, read_table, whole
from maia.wire.limits import MAX_PICTURE_PIXELS
from maia.wire.pictures import Rgb

__all__ = ["ACTIVATIONS", "IDS", "IMAGES", "MASKS", "THRESHOLDS", "UNITS", "LayerFiles", "open_layer"]

IMAGES: Final = "images.npy"
MASKS: Final = "masks.npy"
ACTIVATIONS: Final = "activations.csv"
IDS: Final = "ids.csv"
UNITS: Final = "units.npy"
THRESHOLDS: Final = "thresholds.csv"

_HALF: Final = 128


@dataclass(frozen=True, slots=True)
class LayerFiles:
    """A layer whose files agree about shapes; values of pictures and masks are checked when they are read.

    Attributes:
        folder: Where they are.
        synthetic: Whether they are in the layout of MAIA's synthetic neurons.
        rows: One for each unit.
        top: Pictures of each.
        height: Of all pictures.
        width: See height.
        activations: float32, (rows, top), finite where there is a picture.
        ids: int64, (rows, top): places in the dataset, -1 where there is no picture; None without `ids.csv`.
        units: int64, (rows,): distinct, in any order; None without `units.npy`.
        thresholds: float32, (rows,), perhaps with NaN; None without `thresholds.csv`.
    """

    folder: Path
    synthetic: bool
    rows: int
    top: int
    height: int
    width: int
    activations: NDArray[np.float32]
    ids: NDArray[np.int64] | None
    units: NDArray[np.int64] | None
    thresholds: NDArray[np.float32] | None

    def picture(self, row: int, rank: int) -> Rgb:
        """Return one picture.

        Raises:
            PreconditionError: FILES_DAMAGED: the values are no whole numbers from 0 to 255.
        """
        path = self.folder / IMAGES
        values = _bytes(path, _mapped(path)[row, rank])
        return np.ascontiguousarray(values if self.synthetic else values.transpose(1, 2, 0))

    def mask(self, row: int, rank: int) -> tuple[NDArray[np.bool_], bool]:
        """Return one mask.

        Returns:
            bool, (height, width), and whether it had grey values, which are inside from the half on.

        Raises:
            PreconditionError: FILES_DAMAGED.
        """
        path = self.folder / MASKS
        values = _bytes(path, _mapped(path)[row, rank])
        if self.synthetic and values.ndim == 3:
            if (values != values[..., :1]).any():
                raise file_damaged(path, f"has a mask in colours at [{row}, {rank}]; masks are black and white")
            values = values[..., 0]
        values = values.reshape(self.height, self.width)
        if values.max() <= 1:
            return values == 1, False
        grey = bool(((values != 0) & (values != 255)).any())
        if grey and not self.synthetic:
            raise file_damaged(path, f"has a mask with grey values at [{row}, {rank}]; masks are 0 and 1, or 0 and 255")
        return values >= _HALF, grey


def open_layer(folder: Path) -> LayerFiles:
    """Open the files of a layer.

    Raises:
        NotFoundError: FILES_MISSING.
        PreconditionError: FILES_DAMAGED or FILES_UNREADABLE.
    """
    for name in (IMAGES, MASKS, ACTIVATIONS):
        if not (folder / name).is_file():
            raise files_missing(
                folder, f"has no {name}; a layer needs {IMAGES}, {MASKS} and {ACTIVATIONS}; nothing was imported"
            )
    images = _mapped(folder / IMAGES)
    synthetic = _is_synthetic(folder / IMAGES, images)
    rows, top = images.shape[:2]
    height, width = images.shape[2:4] if synthetic else images.shape[3:]
    if height * width > MAX_PICTURE_PIXELS:
        raise file_damaged(
            folder / IMAGES, f"has pictures of {width} × {height} pixels; at most {MAX_PICTURE_PIXELS} are accepted"
        )
    _check_masks(folder / MASKS, (rows, top, height, width), synthetic=synthetic)
    activations = _table(folder / ACTIVATIONS, rows, top)
    ids = whole(folder / IDS, _table(folder / IDS, rows, top)) if _is_there(folder / IDS) else None
    return LayerFiles(
        folder,
        synthetic,
        rows,
        top,
        height,
        width,
        _activations(folder / ACTIVATIONS, activations, None if ids is None else ids >= 0),
        None if ids is None else np.maximum(ids, -1),
        _units(folder / UNITS, rows) if _is_there(folder / UNITS) else None,
        _thresholds(folder / THRESHOLDS, rows) if _is_there(folder / THRESHOLDS) else None,
    )


def _is_there(path: Path) -> bool:
    """Whether a file that need not be there is."""
    if path.exists() and not path.is_file():  # a pipe would never end
        raise file_damaged(path, "is no file")
    return path.exists()


def _mapped(path: Path) -> NDArray[Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # of a shape with more elements than can be counted
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy raises whatever a malformed header makes it raise
        raise file_damaged(path, "is no array of NumPy, or was cut short; fetch or write it again") from error
    if not isinstance(array, np.ndarray):
        raise file_damaged(path, "is an archive, not an array of NumPy")
    if array.dtype.kind not in "biuf":
        raise file_damaged(path, f"holds {array.dtype}, not numbers")
    return array


def _bytes(path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    with np.errstate(invalid="ignore"):
        converted = values.astype(np.uint8)
    if not np.array_equal(converted, values):
        raise file_damaged(path, f"holds {values.dtype} that are no whole numbers from 0 to 255")
    return converted


def _is_synthetic(path: Path, images: NDArray[Any]) -> bool:
    if images.ndim == 5 and 0 not in images.shape:
        if images.shape[2] == 3:
            return False
        if images.shape[4] == 3:
            return True
    raise file_damaged(
        path,
        f"has the shape {images.shape}; pictures are (units, top, 3, height, width), or (units, top, height, width, 3)",
    )


def _check_masks(path: Path, shape: tuple[int, int, int, int], *, synthetic: bool) -> None:
    rows, top, height, width = shape
    expected = [shape, (rows, top, 1, height, width)]
    if synthetic:
        expected = [shape, (*shape, 1), (*shape, 3)]
    actual = _mapped(path).shape
    if actual not in expected:
        raise file_damaged(path, f"has the shape {actual}, which does not go with {IMAGES}: {expected[-1]} would")


def _table(path: Path, rows: int, top: int) -> NDArray[np.float64]:
    table = read_table(path, rows * top)
    if table.shape != (rows, top):
        raise file_damaged(
            path, f"has {table.shape[0]} lines of {table.shape[1]}; {IMAGES} has {rows} units with {top} pictures"
        )
    return table


def _activations(path: Path, table: NDArray[np.float64], there: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values = table.astype(np.float32)
    wrong = ~np.isfinite(values)
    if there is not None:
        wrong &= there
    if wrong.any():
        row, rank = np.argwhere(wrong)[0].tolist()
        raise file_damaged(path, f"holds {table[row, rank]} in line {row + 1}, which is no activation of a picture")
    return values


def _units(path: Path, rows: int) -> NDArray[np.int64]:
    units = np.array(_mapped(path))
    if units.dtype.kind not in "iu" or units.ndim != 1 or len(units) != rows:
        raise file_damaged(
            path, f"holds {units.dtype} of the shape {units.shape}; it must be {rows} whole numbers, one a row"
        )
    units = units.astype(np.int64)
    if units.min() < 0 or len(np.unique(units)) != rows:
        raise file_damaged(path, "names a unit twice, or one below 0")
    if units.max() >= MAX_UNITS:
        raise file_damaged(path, f"names the unit {units.max()}; layers of up to {MAX_UNITS} units are accepted")
    return units


def _thresholds(path: Path, rows: int) -> NDArray[np.float32]:
    numbers = read_numbers(path, rows)
    if len(numbers) != rows:
        raise file_damaged(path, f"has {len(numbers)} thresholds; {IMAGES} has {rows} units")
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)
