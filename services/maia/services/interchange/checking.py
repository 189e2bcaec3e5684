"""Files of a set, read whole: which pictures there are, in which order, and what cannot be right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.model import MAX_UNITS, Manifest, StoredLayer
from maia.services.interchange.failures import file_damaged, setting_invalid, shown
from maia.services.interchange.layer_files import ACTIVATIONS, IDS, MASKS, THRESHOLDS, LayerFiles
from maia.services.interchange.layout import FoundLayer
from maia.wire.errors import PreconditionError

__all__ = ["CheckedLayer", "CheckedSet", "Place", "check"]

_REVISION_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture lies in the files."""

    files: LayerFiles
    row: int
    rank: int


@dataclass(frozen=True, slots=True)
class CheckedLayer:
    """A layer as the store will have it: units ascending, each unit's pictures in the order of their activations.

    Attributes:
        files: It comes from.
        rows: int64, (rows,): of the files.
        ranks: int64, (rows, top of the files): of the files' row; those with pictures first.
        indices: int64, (rows, top of the set): the pictures' numbers, -1 where there is none.
        activations: float32, like indices; -inf where there is none.
        units: int64, (rows,), ascending; None if the rows are all units.
        thresholds: float32, (rows,); None if unknown.
    """

    files: LayerFiles
    rows: NDArray[np.int64]
    ranks: NDArray[np.int64]
    indices: NDArray[np.int64]
    activations: NDArray[np.float32]
    units: NDArray[np.int64] | None
    thresholds: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class CheckedSet:
    """A set that can be written.

    Attributes:
        manifest: Its dataset's revision is a digest of all that was read.
        layers: In the manifest's order.
        places: One for each picture, by its number.
        notes: Sentences that people should see.
    """

    manifest: Manifest
    layers: tuple[CheckedLayer, ...]
    places: dict[int, Place]
    notes: tuple[str, ...]


def check(
    found: Sequence[FoundLayer],
    *,
    units: int | None = None,
    without_ids: bool = False,
    on_checked: Callable[[], None] = lambda: None,
) -> CheckedSet:
    """Read all layers of one model and dataset.

    Args:
        found: The layers.
        units: How many the layer has, if there is only one; None for what its files tell.
        without_ids: Whether pictures are numbered by their order in the files.
        on_checked: Called after each picture.

    Raises:
        PreconditionError: FILES_DAMAGED, or IDS_CONFLICT: the same number for different pictures.
        InvalidRequestError: SETTING_INVALID.
    """
    top = max(one.files.top for one in found)
    notes: list[str] = []
    lacking = [one.layer for one in found if one.files.ids is None]
    if lacking and not without_ids:
        notes.append(
            f"no {IDS} for {', '.join(map(shown, lacking))}: all pictures of the set are numbered by their order in "
            "the files, not by their places in the dataset"
        )
    census = _Census(with_ids=not (lacking or without_ids))
    layers = tuple(_checked(one, top, census, notes, on_checked) for one in found)
    if not census.places:
        raise file_damaged(found[0].files.folder / IDS, "names no picture at all")
    unthresholded = [one.layer for one in found if one.files.thresholds is None]
    if unthresholded:
        notes.append(
            f"no {THRESHOLDS} for {', '.join(map(shown, unthresholded))}: the masks are as they were stored, but where "
            "a unit responds in other pictures is then taken from each picture's own map (its 0.95 quantile); `maia "
            f"exemplars build --model {shown(found[0].model)} --dataset …` over the dataset finds the thresholds"
        )
    for one, layer in zip(found, layers, strict=True):
        if layer.units is not None and units is None:
            notes.append(
                f"{shown(one.layer)} has files of {len(layer.units)} units; it is taken to have {layer.units[-1] + 1}, "
                "the largest in units.npy + 1, unless --units says otherwise"
            )
    manifest = Manifest(
        subject=found[0].model,
        subject_revision="",
        dataset=found[0].dataset,
        dataset_revision=census.revision(),
        dataset_size=max(census.places) + 1,
        top=top,
        regions="masks",
        layers=tuple(_described(one, layer, units) for one, layer in zip(found, layers, strict=True)),
    )
    return CheckedSet(manifest, layers, census.places, tuple(notes))


class _Census:
    """Numbers pictures and digests all that is read."""

    def __init__(self, *, with_ids: bool) -> None:
        self.with_ids = with_ids
        self.places: dict[int, Place] = {}
        self._numbers: dict[bytes, int] = {}
        self._digests: dict[int, bytes] = {}
        self._all = hashlib.sha256()

    def add(self, *values: NDArray[Any] | str | None) -> None:
        """Digest what is no picture."""
        for value in values:
            if value is None or isinstance(value, str):
                self._all.update(repr(value).encode())
            else:
                self._all.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())

    def number(self, place: Place, own: int) -> int:
        """Return the number of a picture.

        Args:
            place: Where it is.
            own: What `ids.csv` says.
        """
        picture = place.files.picture(place.row, place.rank)
        digest = hashlib.sha256(f"{picture.shape}".encode() + picture.tobytes()).digest()
        self._all.update(digest)
        number = own if self.with_ids else self._numbers.setdefault(digest, len(self._numbers))
        if self._digests.setdefault(number, digest) != digest:
            first = self.places[number]
            raise PreconditionError(
                f"{IDS} gives the number {number} to different pictures: [{first.row}, {first.rank}] in "
                f"{shown(first.files.folder)} and [{place.row}, {place.rank}] in {shown(place.files.folder)}; import "
                "the layers one by one by --layers, or number the pictures anew by --without-ids",
                reason="IDS_CONFLICT",
                metadata={"id": str(number)},
            )
        self.places.setdefault(number, place)
        return number

    def revision(self) -> str:
        """Return hexadecimal digits that change with anything that was read."""
        return self._all.hexdigest()[:_REVISION_DIGITS]


def _checked(
    found: FoundLayer, top: int, census: _Census, notes: list[str], on_checked: Callable[[], None]
) -> CheckedLayer:
    files = found.files
    ids = files.ids if census.with_ids else None
    there = np.ones((files.rows, files.top), np.bool_) if files.ids is None else files.ids >= 0
    values = np.where(there, files.activations, -np.inf).astype(np.float32)
    ranks = np.argsort(-values, axis=1, kind="stable")
    moved = int((ranks != np.arange(files.top)).any(axis=1).sum())
    if moved:
        notes.append(
            f"{ACTIVATIONS} of {shown(found.layer)} does not descend in {moved} of {files.rows} lines: the exemplars "
            "of those units were sorted"
        )
    rows = np.arange(files.rows) if files.units is None else np.argsort(files.units)
    units = None if files.units is None else files.units[rows]
    if units is not None and np.array_equal(units, np.arange(files.rows)):
        units = None
    census.add(found.layer, values, files.thresholds, files.units)
    indices = np.full((files.rows, top), -1, np.int64)
    activations = np.full((files.rows, top), -np.inf, np.float32)
    greys = 0
    for number, row in enumerate(rows.tolist()):
        for new, rank in enumerate(ranks[row].tolist()):
            if there[row, rank]:
                own = -1 if ids is None else int(ids[row, rank])
                indices[number, new] = census.number(Place(files, row, rank), own)
                activations[number, new] = values[row, rank]
                mask, grey = files.mask(row, rank)
                greys += grey
                census.add(np.packbits(mask))
            on_checked()
    census.add(indices)
    if greys:
        notes.append(f"{MASKS} of {shown(found.layer)} has {greys} masks with grey values: from 128 on they are inside")
    thresholds = None if files.thresholds is None else files.thresholds[rows]
    return CheckedLayer(files, rows, ranks[rows], indices, activations, units, thresholds)


def _described(found: FoundLayer, layer: CheckedLayer, units: int | None) -> StoredLayer:
    files = found.files
    least = files.rows if layer.units is None else int(layer.units[-1]) + 1
    if units is not None and (units < least or (layer.units is None and units != least)):
        raise setting_invalid(
            f"{shown(found.layer)} has {least} units by its files, not {units}"
            + ("; without units.npy the rows are all units" if files.units is None else "; say at least that many")
        )
    if units is not None and units > MAX_UNITS:
        raise setting_invalid(f"{units} units are too many; layers of up to {MAX_UNITS} are accepted")
    return StoredLayer(
        name=found.layer, units=least if units is None else units, map_height=files.height, map_width=files.width
    )
