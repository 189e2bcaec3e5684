"""Exemplar sets on disk.

    <store>/sets/<subject>/<subject revision>-<dataset revision>-<size>/
        manifest.json
        frames.npy              float64 (dataset size, 4): left, top, right, bottom
        <n>/indices.npy         int64   (units, top), of layer n of the manifest
        <n>/activations.npy     float32 (units, top), descending
        <n>/thresholds.npy      float32 (units,)
        <n>/maps.npy            float16 (units, top, h, w)
    <store>/datasets/           the original pictures, see `dataset`

A request's names are only ever compared with those in manifests, never made into paths.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.dataset import dataset_folder, picture_path
from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.model import Exemplar, Manifest
from maia.wire.errors import InternalError, InvalidRequestError, NotFoundError, OutOfRangeError
from maia.wire.maps import Frame

_MANIFEST: Final = "manifest.json"
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class LayerArrays:
    """The arrays of one layer, as the module says."""

    indices: NDArray[np.int64]
    activations: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    maps: NDArray[np.float16]


class ExemplarStore:
    """Reads and writes exemplar sets below one folder. Sets that are built while it is open are found."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def manifests(self) -> list[Manifest]:
        """Return all sets, the newest of a subject first."""
        return [manifest for _, manifest in self._sets()]

    def find(self, subject: str, layer: str, revision: str = "") -> ExemplarLayer:
        """Return one layer of a subject's set.

        Args:
            subject: Its name.
            layer: Its layer.
            revision: Of the subject; "" for the newest set.

        Raises:
            NotFoundError: EXEMPLARS_MISSING, metadata "subject"; the message says how to build them.
            InternalError: EXEMPLARS_DAMAGED.
        """
        sets = [(folder, manifest) for folder, manifest in self._sets(subject) if manifest.subject == subject]
        if not sets:
            raise _missing(subject, f"there are no exemplars of {subject!r:.100} in {self._root}")
        exact = [(folder, manifest) for folder, manifest in sets if revision in {"", manifest.subject_revision}]
        if not exact:
            stored = sets[0][1].subject_revision
            raise _missing(subject, f"the exemplars of {subject} are of its revision {stored}, not {revision:.100}")
        folder, manifest = exact[0]
        for number, stored_layer in enumerate(manifest.layers):
            if stored_layer.name == layer:
                return ExemplarLayer(self._root, folder, manifest, number)
        layers = ", ".join(stored_layer.name for stored_layer in manifest.layers)
        raise _missing(subject, f"there are exemplars of {subject} for {layers}, not for layer {layer!r:.100}")

    def folder_of(self, manifest: Manifest) -> Path:
        """Return where a set is, or will be.

        Raises:
            InvalidRequestError: NAME_INVALID: the subject's name or revision cannot be that of a folder.
        """
        key = f"{manifest.subject_revision}-{manifest.dataset_revision}-{manifest.dataset_size}"
        for name in (manifest.subject, key):
            if not _SAFE_NAME.fullmatch(name):
                raise InvalidRequestError(f"{name!r:.120} cannot name a folder", reason="NAME_INVALID")
        return self._root / "sets" / manifest.subject / key

    def has(self, manifest: Manifest) -> bool:
        """Whether a set is stored.

        Raises:
            InternalError: EXEMPLARS_DAMAGED: its folder is there, but not what it should hold.
        """
        folder = self.folder_of(manifest)
        if not folder.exists():
            return False
        with _damage(folder / _MANIFEST, folder, manifest.subject):
            return Manifest.model_validate_json((folder / _MANIFEST).read_bytes()) == manifest

    @contextmanager
    def writing(self, manifest: Manifest) -> Iterator[SetWriter]:
        """Write a set; it appears whole when the block ends without an error, or not at all."""
        with new_folder(self.folder_of(manifest)) as building:
            yield SetWriter(building)
            (building / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def _sets(self, subject: str | None = None) -> list[tuple[Path, Manifest]]:
        """All sets, or those in one subject's folder: what is damaged elsewhere is none of its business."""
        dated = sorted(
            (
                (path.stat().st_mtime_ns, path)
                for path in (self._root / "sets").glob(f"*/[!.]*/{_MANIFEST}")
                if subject in {None, path.parent.parent.name}
            ),
            reverse=True,
        )
        return [(path.parent, _manifest(path, changed)) for changed, path in dated]


@dataclass(frozen=True, slots=True)
class SetWriter:
    """Writes the arrays of a set."""

    folder: Path

    def write_layer(self, number: int, arrays: LayerArrays) -> None:
        """Write layer `number` of the manifest."""
        layer = self.folder / str(number)
        layer.mkdir()
        for name in LayerArrays.__slots__:
            np.save(layer / f"{name}.npy", getattr(arrays, name), allow_pickle=False)

    def write_frames(self, frames: NDArray[np.float64]) -> None:
        """Write the frames, float64 of shape (dataset size, 4)."""
        np.save(self.folder / "frames.npy", frames, allow_pickle=False)


@dataclass(frozen=True, slots=True)
class ExemplarLayer:
    """One layer of an exemplar set."""

    root: Path
    folder: Path
    manifest: Manifest
    number: int

    def threshold(self, unit: int) -> float:
        """Return the level of a unit's masks.

        Raises:
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
            InternalError: EXEMPLARS_DAMAGED.
        """
        self._check(unit)
        return float(self._array("thresholds")[unit])

    def exemplars(self, unit: int) -> list[Exemplar]:
        """Return a unit's top pictures, highest activation first.

        Raises:
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
            InternalError: EXEMPLARS_DAMAGED.
        """
        self._check(unit)
        manifest = self.manifest
        pictures = dataset_folder(self.root, manifest.dataset, manifest.dataset_revision, manifest.dataset_size)
        indices: Sequence[int] = self._array("indices")[unit].tolist()
        frames = self._loaded(self.folder / "frames.npy", (manifest.dataset_size, 4))
        activations, maps = self._array("activations")[unit].tolist(), np.array(self._array("maps")[unit])
        return [
            Exemplar(
                png=self._picture(picture_path(pictures, index)),
                activation=activation,
                frame=Frame(*frames[index].tolist()),
                map=maps[rank],
                dataset_index=index,
            )
            for rank, (index, activation) in enumerate(zip(indices, activations, strict=True))
        ]

    def _check(self, unit: int) -> None:
        layer = self.manifest.layers[self.number]
        if not 0 <= unit < layer.units:
            raise OutOfRangeError(
                f"{self.manifest.subject} {layer.name} has units 0 to {layer.units - 1}, not {unit}",
                reason="UNIT_OUT_OF_RANGE",
                metadata={"layer": layer.name, "index": str(unit), "units": str(layer.units)},
            )

    def _picture(self, path: Path) -> bytes:
        with _damage(path, path.parent, self.manifest.subject):
            data = path.read_bytes()
            if not data:
                raise ValueError("empty")
            return data

    def _array(self, name: str) -> NDArray[Any]:
        layer, top = self.manifest.layers[self.number], self.manifest.top
        shapes: dict[str, tuple[int, ...]] = {
            "thresholds": (layer.units,),
            "maps": (layer.units, top, layer.map_height, layer.map_width),
        }
        return self._loaded(self.folder / str(self.number) / f"{name}.npy", shapes.get(name, (layer.units, top)))

    def _loaded(self, path: Path, shape: tuple[int, ...]) -> NDArray[Any]:
        with _damage(path, self.folder, self.manifest.subject):
            array = _opened(path)
            if array.shape != shape:
                raise ValueError(f"shape {array.shape}, not {shape}")
            return array


@lru_cache(maxsize=512)
def _opened(path: Path) -> NDArray[Any]:
    """Map an array into memory once; a set never changes under its name."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


@lru_cache(maxsize=512)
def _manifest(path: Path, _changed: int) -> Manifest:
    with _damage(path, path.parent, path.parent.parent.name):
        return Manifest.model_validate_json(path.read_bytes())


@contextmanager
def _damage(path: Path, folder: Path, subject: str) -> Iterator[None]:
    """Say what to do when a file of the store is not what was written; Pydantic's errors are ValueErrors too."""
    try:
        yield
    except (OSError, ValueError, EOFError) as error:
        raise InternalError(
            f"{path} is damaged or missing; remove {folder} and build the exemplars again: "
            f"maia exemplars build --model {subject:.100}",
            reason="EXEMPLARS_DAMAGED",
            metadata={"path": str(path)},
        ) from error


def _missing(subject: str, what: str) -> NotFoundError:
    return NotFoundError(
        f"{what}; build them: maia exemplars build --model {subject:.100}",
        reason="EXEMPLARS_MISSING",
        metadata={"subject": subject},
    )
