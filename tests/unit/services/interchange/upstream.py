"""MAIA's and MILAN's files, written and read as their descriptions say, by NumPy alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layer:
    """images uint8 (units, top, 3, h, w); masks uint8 (units, top, 1, h, w); activations (units, top) descending."""

    images: NDArray[Any]
    masks: NDArray[Any]
    activations: NDArray[Any]
    ids: NDArray[Any] | None = None
    units: NDArray[Any] | None = None
    thresholds: NDArray[Any] | None = None

    def with_(self, **changes: Any) -> Layer:
        return replace(self, **changes)


def noise(units: int = 3, top: int = 4, size: tuple[int, int] = (6, 5), pool: int = 7, seed: int = 0) -> Layer:
    """A layer whose pictures are a few of a dataset's, the same for every seed."""
    random = np.random.default_rng(seed)
    dataset = np.random.default_rng(99).integers(0, 256, (pool, 3, *size), dtype=np.uint8)
    ids = random.integers(0, pool, (units, top))
    return Layer(
        images=dataset[ids],
        masks=random.integers(0, 2, (units, top, 1, *size), dtype=np.uint8),
        activations=-np.sort(-random.normal(size=(units, top)), axis=1),
        ids=ids,
        thresholds=random.random(units),
    )


def write(folder: Path, layer: Layer) -> Path:
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", layer.images)
    np.save(folder / "masks.npy", layer.masks)
    np.savetxt(folder / "activations.csv", layer.activations, delimiter=",", fmt="%.5e")
    if layer.ids is not None:
        np.savetxt(folder / "ids.csv", layer.ids, delimiter=",", fmt="%i")
    if layer.units is not None:
        np.save(folder / "units.npy", layer.units)
    if layer.thresholds is not None:
        np.savetxt(folder / "thresholds.csv", layer.thresholds, delimiter=",", fmt="%.5e")
    return folder


def read(folder: Path) -> Layer:
    """As MAIA reads them, but with one unit too, which its reader takes for no table."""
    activations = np.loadtxt(folder / "activations.csv", delimiter=",", ndmin=2)
    thresholds = folder / "thresholds.csv"
    return Layer(
        images=np.load(folder / "images.npy"),
        masks=np.load(folder / "masks.npy"),
        activations=activations,
        ids=np.loadtxt(folder / "ids.csv", delimiter=",", ndmin=2).astype(int),
        units=np.load(folder / "units.npy") if (folder / "units.npy").exists() else None,
        thresholds=np.loadtxt(thresholds, delimiter=",", ndmin=1) if thresholds.exists() else None,
    )


def masked_as_maia(layer: Layer, unit: int, rank: int) -> NDArray[np.uint8]:
    """Pixels where the mask is 0 at a quarter of their brightness, as height × width × 3."""
    inside = np.repeat(layer.masks[unit, rank], 3, axis=0) > 0
    image = layer.images[unit, rank]
    masked: NDArray[np.uint8] = np.where(inside, image, 0.25 * image).astype(np.uint8).transpose(1, 2, 0)
    return masked


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def hidden(root: Path) -> Iterable[Path]:
    """What a failed command would have left half-written."""
    return [path for path in root.rglob("*") if path.is_file() or path.name.startswith(".")]
