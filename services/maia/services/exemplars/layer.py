"""Reads one layer of an exemplar set; `store` says which files there are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.failures import exemplars_missing, reporting_damage
from maia.services.exemplars.model import Exemplar, KeptPicture, LayerArrays, Manifest, Statistics, StoredLayer
from maia.wire.errors import InvalidRequestError, OutOfRangeError
from maia.wire.maps import Frame

__all__ = ["ExemplarLayer"]


@dataclass(frozen=True, slots=True)
class ExemplarLayer:
    """One layer of an exemplar set."""

    folder: Path
    manifest: Manifest
    number: int

    @property
    def layer(self) -> StoredLayer:
        """Its part of the manifest."""
        return self.manifest.layers[self.number]

    @property
    def arrays(self) -> LayerArrays:
        """All that is stored of it, mapped into memory.

        Raises:
            InternalError: EXEMPLARS_DAMAGED.
        """
        others = [field.name for field in dataclasses.fields(LayerArrays)][2:]
        return LayerArrays(self._array("indices"), self._array("activations"), *map(self._optional, others))

    def statistics(self, unit: int) -> Statistics:
        """Return what is known of a unit's values.

        Raises:
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
            NotFoundError: EXEMPLARS_MISSING: the set holds other units of the layer.
            InternalError: EXEMPLARS_DAMAGED.
        """
        row = self.row(unit)
        threshold, mean, density, edges, histogram = (
            None if array is None else array[row]
            for array in map(self._optional, ("thresholds", "mean", "density", "edges", "histogram"))
        )
        return Statistics(
            None if threshold is None or not np.isfinite(threshold) else float(threshold),
            None if mean is None else float(mean),
            None if density is None else float(density),
            edges,
            histogram,
        )

    def exemplars(
        self, unit: int, most: int | None = None, *, part: slice = slice(None), most_bytes: int | None = None
    ) -> list[Exemplar]:
        """Return a unit's top pictures, highest activation first.

        Args:
            unit: Which.
            most: How many at most; None for all.
            part: Which of these.
            most_bytes: Of all pictures and regions together; None for any.

        Raises:
            InvalidRequestError: REQUEST_TOO_LARGE, metadata "limit" and "fit": how many, from the first on, do fit.
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
            NotFoundError: EXEMPLARS_MISSING: the set holds other units of the layer.
            InternalError: EXEMPLARS_DAMAGED.
        """
        row = self.row(unit)
        indices = self._array("indices")[row][:most]
        activations = self._array("activations")[row]
        kept = [rank for rank, index in enumerate(indices.tolist()) if index >= 0][part]
        places = self.layer.map_height * self.layer.map_width
        region_bytes = 2 * places if self.manifest.regions == "maps" else (places + 7) // 8
        pictures = self._pictures([int(indices[rank]) for rank in kept], most_bytes, region_bytes)
        return [
            Exemplar(picture, float(activations[rank]), *self._region(row, rank))
            for rank, picture in zip(kept, pictures, strict=True)
        ]

    def sampled(
        self,
        unit: int,
        low: float,
        high: float,
        most: int,
        *,
        part: slice = slice(None),
        most_bytes: int | None = None,
    ) -> list[Exemplar]:
        """Return pictures of the set's sample whose activation is between two quantiles of the sample's.

        Args:
            unit: Which.
            low: From 0.
            high: To 1.
            most: How many at most, spread evenly over those that there are.
            part: Which of these.
            most_bytes: Of all pictures together; None for any.

        Returns:
            Highest activation first, without maps or masks.

        Raises:
            InvalidRequestError: As `exemplars`.
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
            NotFoundError: EXEMPLARS_MISSING: the set holds other units of the layer, or no sample.
            InternalError: EXEMPLARS_DAMAGED.
        """
        row = self.row(unit)
        activations = self._optional("sampled")
        if activations is None or not activations.shape[1]:
            raise exemplars_missing(
                self.manifest.subject, f"the exemplars in {self.folder} hold no sample of the dataset"
            )
        samples = self._loaded(self.folder / "samples.npy", (self.manifest.samples,))
        own = np.asarray(activations[row])
        order = np.argsort(own, kind="stable")
        count = len(order)
        # As the decimal fractions that people write: the float nearest to 0.07, times 100, is a little more than 7.
        first, end = floor(Fraction(repr(float(low))) * count), ceil(Fraction(repr(float(high))) * count)
        within = order[first:end][::-1]
        if len(within) > most:
            within = within[np.linspace(0, len(within) - 1, most).round().astype(np.intp)]
        within = within[part]
        pictures = self._pictures([int(samples[place]) for place in within], most_bytes)
        return [Exemplar(picture, float(own[place])) for picture, place in zip(pictures, within, strict=True)]

    def row(self, unit: int) -> int:
        """Return the row of a unit in the arrays; raises as `exemplars`."""
        if not 0 <= unit < self.layer.units:
            raise OutOfRangeError(
                f"{self.manifest.subject} {self.layer.name} has units 0 to {self.layer.units - 1}, not {unit}",
                reason="UNIT_OUT_OF_RANGE",
                metadata={"layer": self.layer.name, "index": str(unit), "units": str(self.layer.units)},
            )
        units = self._optional("units")
        if units is None:
            return unit
        found = int(np.searchsorted(units, unit))
        if found == len(units) or units[found] != unit:
            raise exemplars_missing(
                self.manifest.subject,
                f"there are exemplars for {len(units)} units of {self.layer.name}, not for unit {unit}",
            )
        return found

    def _region(self, row: int, rank: int) -> tuple[NDArray[np.float16] | None, NDArray[np.bool_] | None]:
        if self.manifest.regions == "maps":
            return np.array(self._array("maps")[row, rank]), None
        height, width = self.layer.map_height, self.layer.map_width
        bits = np.unpackbits(self._array("masks")[row, rank], count=height * width)
        return None, bits.reshape(height, width).view(np.bool_)

    def _pictures(self, indices: Sequence[int], most_bytes: int | None, region_bytes: int = 0) -> list[KeptPicture]:
        table = self._loaded(self.folder / "pictures.npy", (None, 3))
        frames = self._loaded(self.folder / "frames.npy", (len(table), 4))
        path = self.folder / "titles.json"
        with self._damage(path):
            titles = _titles(path, path.stat().st_mtime_ns)
        path = self.folder / "pictures.bin"
        pictures = []
        with self._damage(path):
            places = np.searchsorted(table[:, 0], np.array(indices, np.int64)).tolist()
            for place, index in zip(places, indices, strict=True):
                if place == len(table) or table[place, 0] != index:
                    raise ValueError(f"no picture {index}")
        sizes = np.cumsum(table[places, 2] + region_bytes)
        if most_bytes is not None and len(sizes) and sizes[-1] > most_bytes:
            raise InvalidRequestError(
                f"these {len(places)} pictures have {sizes[-1]} bytes, and at most {most_bytes} fit into an answer; "
                "ask for fewer at a time",
                reason="REQUEST_TOO_LARGE",
                metadata={"limit": str(most_bytes), "fit": str(np.searchsorted(sizes, most_bytes, side="right"))},
            )
        with self._damage(path), path.open("rb") as pack:
            for place in places:
                index, offset, length = table[place].tolist()
                pack.seek(offset)
                data = pack.read(length)
                if not length or len(data) != length:
                    raise ValueError("it ends too early")
                pictures.append(KeptPicture(index, titles[place], data, Frame(*frames[place].tolist())))
        return pictures

    def _optional(self, name: str) -> NDArray[Any] | None:
        """An array that a set need not have."""
        return self._array(name) if (self.folder / str(self.number) / f"{name}.npy").exists() else None

    def _array(self, name: str) -> NDArray[Any]:
        path = self.folder / str(self.number) / f"{name}.npy"
        units = None if name == "units" else self._optional("units")
        top, layer = self.manifest.top, self.layer
        rows = layer.units if units is None else len(units)
        shapes: dict[str, tuple[int | None, ...]] = {
            "units": (None,),
            "indices": (rows, top),
            "activations": (rows, top),
            "maps": (rows, top, layer.map_height, layer.map_width),
            "masks": (rows, top, (layer.map_height * layer.map_width + 7) // 8),
            "edges": (rows, None),
            "histogram": (rows, None),
            "sampled": (rows, self.manifest.samples),
        }
        return self._loaded(path, shapes.get(name, (rows,)))

    def _loaded(self, path: Path, shape: tuple[int | None, ...]) -> NDArray[Any]:
        with self._damage(path):
            array = _opened(path, path.stat().st_mtime_ns)
            wrong = len(array.shape) != len(shape) or any(
                side not in {None, actual} for side, actual in zip(shape, array.shape, strict=True)
            )
            if wrong:
                raise ValueError(f"shape {array.shape}, not {shape}")
            return array

    @contextmanager
    def _damage(self, path: Path) -> Iterator[None]:
        with reporting_damage(path, self.folder, self.manifest.subject):
            yield


@lru_cache(maxsize=1024)
def _opened(path: Path, _changed: int) -> NDArray[Any]:
    """Map an array into memory once, until a set is removed and another takes its name."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


@lru_cache(maxsize=64)
def _titles(path: Path, _changed: int) -> list[str]:
    titles: list[str] = json.loads(path.read_bytes())
    return titles
