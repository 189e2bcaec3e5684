"""Exemplar sets on disk.

    <store>/sets/<subject>/<dataset and revisions>/
        manifest.json
        report.json             pictures that were skipped, and why
        pictures.bin            the pictures that some unit needs, each once, as they came, one after the other
        pictures.npy            int64 (pictures, 3): place in the dataset, ascending; offset; length
        frames.npy              float64 (pictures, 4): left, top, right, bottom
        titles.json             what people call them
        samples.npy             int64 (samples,): places in the dataset
        <n>/*.npy               of layer n of the manifest: what `LayerArrays` has

A request's names are only ever compared with those in manifests, never made into paths.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.model import (
    FORMAT,
    Exemplar,
    KeptPicture,
    LayerArrays,
    Manifest,
    Statistics,
    StoredLayer,
)
from maia.services.exemplars.row_file import row_file
from maia.wire.errors import (
    InternalError,
    InvalidRequestError,
    MaiaError,
    NotFoundError,
    OutOfRangeError,
    PreconditionError,
)
from maia.wire.maps import Frame

__all__ = ["ExemplarLayer", "ExemplarStore", "SetWriter"]

_MANIFEST: Final = "manifest.json"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS: Final = 60


class ExemplarStore:
    """Reads and writes exemplar sets below one folder. Sets that are built while it is open are found."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def root(self) -> Path:
        """The folder."""
        return self._root

    def manifests(self, others: list[MaiaError] | None = None) -> list[Manifest]:
        """Return all sets, the newest of a subject first.

        Args:
            others: Is told of sets that another version has written and of damaged ones, which are left out.

        Raises:
            InternalError: EXEMPLARS_DAMAGED, without `others`.
        """
        return [manifest for _, manifest in self._sets(others=others)]

    def find(self, subject: str, layer: str, revision: str = "", dataset: str = "") -> ExemplarLayer:
        """Return one layer of a subject's set; the newest, if there are several.

        Args:
            subject: Its name.
            layer: Its layer.
            revision: Of the subject; "" for any. A set whose revision nobody knows comes after those that agree.
            dataset: Its name; "" for any.

        Raises:
            NotFoundError: EXEMPLARS_MISSING, metadata "subject"; the message says how to build them.
            PreconditionError: STORE_FORMAT: the set was written by another version.
            InternalError: EXEMPLARS_DAMAGED.
        """
        others: list[MaiaError] = []
        sets = [found for found in self._sets(subject, others) if found[1].subject == subject]
        if not sets and others:
            raise others[0]
        if not sets:
            raise _missing(subject, f"there are no exemplars of {subject!r:.100} in {self._root}")
        of_dataset = [found for found in sets if dataset in {"", found[1].dataset}]
        if not of_dataset:
            stored = ", ".join(dict.fromkeys(manifest.dataset for _, manifest in sets))
            raise _missing(subject, f"there are exemplars of {subject} in {stored}, not in {dataset!r:.100}")
        exact = [found for found in of_dataset if revision in {"", found[1].subject_revision}]
        exact += [found for found in of_dataset if found not in exact and not found[1].subject_revision]
        if not exact:
            known = of_dataset[0][1].subject_revision
            raise _missing(subject, f"the exemplars of {subject} are of its revision {known}, not {revision:.100}")
        for folder, manifest in exact:
            for number, stored_layer in enumerate(manifest.layers):
                if stored_layer.name == layer:
                    return ExemplarLayer(folder, manifest, number)
        layers = ", ".join(dict.fromkeys(layer.name for _, manifest in exact for layer in manifest.layers))
        raise _missing(subject, f"there are exemplars of {subject} for {layers}, not for layer {layer!r:.100}")

    def folder_of(self, manifest: Manifest) -> Path:
        """Return where a set is, or will be."""
        layers = hashlib.sha256(json.dumps([layer.model_dump() for layer in manifest.layers]).encode()).hexdigest()
        parts = [
            manifest.subject_revision or "imported",
            _safe(manifest.dataset),
            manifest.dataset_revision,
            f"{manifest.dataset_size}",
            f"top{manifest.top}",
            f"samples{manifest.sample_size}",
            layers[:8],
        ]
        return self._root / "sets" / _safe(manifest.subject) / "-".join(parts)

    def like(self, manifest: Manifest) -> Manifest | None:
        """Return what the stored set of the same pass says of itself, None if there is none.

        Args:
            manifest: Its `samples` do not count: how many could be read is known only afterwards.

        Raises:
            InternalError: EXEMPLARS_DAMAGED: its folder is there, but not what it should hold.
        """
        path = self.folder_of(manifest) / _MANIFEST
        if not path.parent.exists():
            return None
        with _damage(path, path.parent, manifest.subject):
            stored = _manifest(path, path.stat().st_mtime_ns)
            if stored.model_copy(update={"samples": manifest.samples}) != manifest:
                raise ValueError("of another pass")
            return stored

    @contextmanager
    def writing(self, manifest: Manifest) -> Iterator[SetWriter]:
        """Write a set; it appears whole when the block ends without an error, or not at all."""
        with new_folder(self.folder_of(manifest)) as building:
            yield SetWriter(building)
            (building / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def _sets(self, subject: str | None = None, others: list[MaiaError] | None = None) -> list[tuple[Path, Manifest]]:
        """All sets, or those in one subject's folder: what is damaged elsewhere is none of its business.

        Args:
            subject: Its name; None for all.
            others: Is told of sets that are left out: those that another version has written and, of all subjects,
                damaged ones.
        """
        within = "*" if subject is None else _safe(subject)
        paths = (self._root / "sets").glob(f"{within}/[!.]*/{_MANIFEST}")
        dated = sorted(((path.stat().st_mtime_ns, path) for path in paths), reverse=True)
        sets = []
        for changed, path in dated:
            try:
                sets.append((path.parent, _manifest(path, changed)))
            except PreconditionError as error:
                if others is not None:
                    others.append(error)
            except InternalError as error:
                if others is None or subject is not None:
                    raise
                others.append(error)
        return sets


@dataclass(frozen=True, slots=True)
class SetWriter:
    """Writes a set's files into a folder that is not there yet for anybody else."""

    folder: Path

    def write_layer(self, number: int, arrays: LayerArrays) -> None:
        """Write layer `number` of the manifest."""
        layer = self.folder / str(number)
        layer.mkdir()
        for field in dataclasses.fields(LayerArrays):
            array = getattr(arrays, field.name)
            if array is not None:
                np.save(layer / f"{field.name}.npy", array, allow_pickle=False)

    def write_masks(self, number: int, rows: Iterator[NDArray[np.uint8]], shape: tuple[int, int, int]) -> None:
        """Write the masks of a layer whose other arrays are there, if they are too many for `write_layer`.

        Args:
            number: Of the layer.
            rows: uint8, (top, bytes) each, as in `LayerArrays`.
            shape: (rows, top, bytes).
        """
        with row_file(self.folder / str(number) / "masks.npy", np.uint8, shape) as append:
            for row in rows:
                append(row)

    def write_pictures(self, pictures: Iterator[KeptPicture], samples: Sequence[int] = ()) -> None:
        """Write pictures as they come.

        Args:
            pictures: By their places in the dataset, ascending.
            samples: Places of the sample, ascending.
        """
        places: list[tuple[int, int, int]] = []
        frames, titles = [], []
        offset = 0
        with (self.folder / "pictures.bin").open("wb") as pack:
            for picture in pictures:
                pack.write(picture.data)
                places.append((picture.index, offset, len(picture.data)))
                offset += len(picture.data)
                frames.append(dataclasses.astuple(picture.frame))
                titles.append(picture.title)
        np.save(self.folder / "pictures.npy", np.array(places, np.int64).reshape(-1, 3), allow_pickle=False)
        np.save(self.folder / "frames.npy", np.array(frames, np.float64).reshape(-1, 4), allow_pickle=False)
        np.save(self.folder / "samples.npy", np.array(samples, np.int64), allow_pickle=False)
        (self.folder / "titles.json").write_text(json.dumps(titles, ensure_ascii=False), encoding="utf-8")

    def write_report(self, skipped: Sequence[dict[str, object]]) -> None:
        """Write which pictures were skipped, and why."""
        told = json.dumps({"skipped": list(skipped)}, indent=1, ensure_ascii=False)
        (self.folder / "report.json").write_text(told + "\n", encoding="utf-8")


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

    def exemplars(self, unit: int, most: int | None = None, *, most_bytes: int | None = None) -> list[Exemplar]:
        """Return a unit's top pictures, highest activation first.

        Args:
            unit: Which.
            most: How many at most; None for all.
            most_bytes: Of all pictures together; None for any.

        Raises:
            InvalidRequestError: REQUEST_TOO_LARGE, metadata "limit".
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
            NotFoundError: EXEMPLARS_MISSING: the set holds other units of the layer.
            InternalError: EXEMPLARS_DAMAGED.
        """
        row = self.row(unit)
        indices = self._array("indices")[row][:most]
        activations = self._array("activations")[row]
        kept = [rank for rank, index in enumerate(indices.tolist()) if index >= 0]
        pictures = self._pictures([int(indices[rank]) for rank in kept], most_bytes)
        return [
            Exemplar(picture, float(activations[rank]), *self._region(row, rank))
            for rank, picture in zip(kept, pictures, strict=True)
        ]

    def sampled(
        self, unit: int, low: float, high: float, most: int, *, most_bytes: int | None = None
    ) -> list[Exemplar]:
        """Return pictures of the set's sample whose activation is between two quantiles of the sample's.

        Args:
            unit: Which.
            low: From 0.
            high: To 1.
            most: How many at most, spread evenly over those that there are.
            most_bytes: Of all pictures together; None for any.

        Returns:
            Highest activation first, without maps or masks.

        Raises:
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
            NotFoundError: EXEMPLARS_MISSING: the set holds other units of the layer, or no sample.
            InternalError: EXEMPLARS_DAMAGED.
        """
        row = self.row(unit)
        activations = self._optional("sampled")
        if activations is None or not activations.shape[1]:
            raise _missing(self.manifest.subject, f"the exemplars in {self.folder} hold no sample of the dataset")
        samples = self._loaded(self.folder / "samples.npy", (self.manifest.samples,))
        own = np.asarray(activations[row])
        order = np.argsort(own, kind="stable")
        count = len(order)
        within = order[int(np.floor(low * count)) : int(np.ceil(high * count))][::-1]
        if len(within) > most:
            within = within[np.linspace(0, len(within) - 1, most).round().astype(np.intp)]
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
            raise _missing(
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

    def _pictures(self, indices: Sequence[int], most_bytes: int | None) -> list[KeptPicture]:
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
        size = int(table[places, 2].sum())
        if most_bytes is not None and size > most_bytes:
            raise InvalidRequestError(
                f"these {len(places)} pictures have {size} bytes, and at most {most_bytes} fit into an answer; ask for "
                "fewer at a time",
                reason="REQUEST_TOO_LARGE",
                metadata={"limit": str(most_bytes)},
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
        with _damage(path, self.folder, self.manifest.subject):
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


@lru_cache(maxsize=512)
def _manifest(path: Path, _changed: int) -> Manifest:
    with _damage(path, path.parent):
        told = json.loads(path.read_bytes())
        written = told.get("format") if isinstance(told, dict) else None
        if isinstance(written, int) and written != FORMAT:
            advice = "install that version" if written > FORMAT else f"remove {path.parent} and build them again"
            raise PreconditionError(
                f"the exemplars in {path.parent} are of format {written}, and this version reads {FORMAT}: {advice}",
                reason="STORE_FORMAT",
                metadata={"path": str(path.parent), "format": str(written)},
            )
        return Manifest.model_validate(told)


@contextmanager
def _damage(path: Path, folder: Path, subject: str = "") -> Iterator[None]:
    """Say what to do when a file of the store is not what was written; Pydantic's errors are ValueErrors too.

    Args:
        path: The file.
        folder: Of the set.
        subject: Whose; "" if that stood in the file.
    """
    try:
        yield
    except (OSError, ValueError, EOFError, IndexError) as error:
        command = f": maia exemplars build --model {subject:.100}" if subject else ""
        raise InternalError(
            f"{path} is damaged or missing; remove {folder} and build the exemplars again{command}",
            reason="EXEMPLARS_DAMAGED",
            metadata={"path": str(path)},
        ) from error


def _safe(name: str) -> str:
    """A folder's name, for people to recognise and never the same for two names."""
    plain = _UNSAFE.sub("_", name).strip("._")[:_NAME_CHARS]
    return name if name and plain == name else f"{plain}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _missing(subject: str, what: str) -> NotFoundError:
    return NotFoundError(
        f"{what}; build them: maia exemplars build --model {subject:.100}",
        reason="EXEMPLARS_MISSING",
        metadata={"subject": subject},
    )
