"""Exemplar files into the store: everything is read and checked before the first set is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.model import KeptPicture, LayerArrays, Manifest
from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.checking import CheckedLayer, CheckedSet, check
from maia.services.interchange.failures import name_unknown, setting_invalid, shown, writing
from maia.services.interchange.layout import LEVELS, FoundLayer, find_layers
from maia.services.interchange.progress import OnStep, Step, unheard
from maia.wire.maps import Frame
from maia.wire.pictures import encode_png

__all__ = ["ImportChoice", "Imported", "import_sets"]


@dataclass(frozen=True, slots=True)
class ImportChoice:
    """What to take of the layers that were found, and what to call it.

    Attributes:
        model: Of several models, which; of one, what to call it. "" for all, as their folders say.
        dataset: See model.
        layers: Their names; none for all.
        units: Of the one layer that is taken, if more than its `units.npy` tells; None for the largest there + 1.
        without_ids: Whether to leave `ids.csv` aside and number pictures by their order in the files.
    """

    model: str = ""
    dataset: str = ""
    layers: tuple[str, ...] = ()
    units: int | None = None
    without_ids: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """A set that is in the store now.

    Attributes:
        manifest: What it says of itself.
        anew: Whether it was not there before.
        pictures: Distinct ones.
        notes: Sentences that people should see.
    """

    manifest: Manifest
    anew: bool
    pictures: int
    notes: tuple[str, ...]


def import_sets(
    where: Path,
    store: ExemplarStore,
    choice: ImportChoice | None = None,
    *,
    levels: int = LEVELS,
    on_step: OnStep = unheard,
) -> list[Imported]:
    """Import all sets in a folder; those that the store has already are left as they are.

    Args:
        where: A layer's folder, or one above it.
        store: Where they go.
        choice: What of them; None for everything.
        levels: How far below `where` layers are looked for.
        on_step: Is told "checking" and "packing".

    Raises:
        NotFoundError: FILES_MISSING, or NAME_UNKNOWN for what `choice` names.
        PreconditionError: FILES_DAMAGED, FILES_UNREADABLE, FOLDER_UNWRITABLE or IDS_CONFLICT.
        InvalidRequestError: SETTING_INVALID.
        InternalError: EXEMPLARS_DAMAGED: the store has the set, but not whole.
    """
    choice = choice or ImportChoice()
    chosen = _chosen(find_layers(where, levels), choice)
    total = sum(one.files.rows * one.files.top for one in chosen)
    read = 0

    def on_checked() -> None:
        nonlocal read
        read += 1
        on_step(Step("checking", read, total))

    checked = [
        check(list(layers), units=choice.units, without_ids=choice.without_ids, on_checked=on_checked)
        for _, layers in groupby(chosen, key=lambda one: (one.model, one.dataset))
    ]
    return [_stored(one, store, on_step) for one in checked]


def _chosen(found: Sequence[FoundLayer], choice: ImportChoice) -> list[FoundLayer]:
    chosen = _named(found, "model", choice.model)
    chosen = _named(chosen, "dataset", choice.dataset)
    known = [one.layer for one in chosen]
    for name in choice.layers:
        if name not in known:
            raise name_unknown("layer", name, known)
    if choice.layers:
        chosen = [one for one in chosen if one.layer in choice.layers]
    for one in chosen:
        for name in (one.model, one.dataset, one.layer):
            if not name.isprintable():
                raise setting_invalid(
                    f"{shown(name)!r:.200} is no name for a model, dataset or layer: it has a control character or is "
                    f"no UTF-8; rename the folder, which {shown(one.files.folder)} is or lies in"
                )
    if choice.units is not None and len(chosen) > 1:
        raise setting_invalid(
            f"the number of units, {choice.units}, is that of one layer, and there are {len(chosen)}; choose one by "
            "--layers, with --model or --dataset if several have it"
        )
    return chosen


def _named(found: Sequence[FoundLayer], what: str, name: str) -> list[FoundLayer]:
    """Of several models or datasets the one of this name; of one, all, under this name."""
    names = sorted({str(getattr(one, what)) for one in found})
    if not name or names == [name]:
        return list(found)
    if len(names) > 1:
        if name not in names:
            raise name_unknown(what, name, names)
        return [one for one in found if getattr(one, what) == name]
    return [
        FoundLayer(**{"model": one.model, "dataset": one.dataset, what: name}, layer=one.layer, files=one.files)
        for one in found
    ]


def _stored(checked: CheckedSet, store: ExemplarStore, on_step: OnStep) -> Imported:
    manifest = checked.manifest
    anew = store.like(manifest) is None
    if anew:
        with writing(store.root), store.writing(manifest) as writer:
            for number, layer in enumerate(checked.layers):
                arrays = LayerArrays(layer.indices, layer.activations, units=layer.units, thresholds=layer.thresholds)
                writer.write_layer(number, arrays)
                described = manifest.layers[number]
                shape = (manifest.top, (described.map_height * described.map_width + 7) // 8)
                writer.write_masks(number, _masks(layer, shape), (len(layer.rows), *shape))
            writer.write_pictures(_pictures(checked, on_step))
            writer.write_report([])
    return Imported(manifest, anew, len(checked.places), checked.notes)


def _masks(layer: CheckedLayer, shape: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    for row, ranks, indices in zip(layer.rows.tolist(), layer.ranks.tolist(), layer.indices.tolist(), strict=True):
        bits = np.zeros(shape, np.uint8)
        for place, rank in enumerate(ranks):
            if indices[place] >= 0:
                bits[place] = np.packbits(layer.files.mask(row, rank)[0])
        yield bits


def _pictures(checked: CheckedSet, on_step: OnStep) -> Iterator[KeptPicture]:
    """Each picture once, from the first place where it was found."""
    for done, (index, place) in enumerate(sorted(checked.places.items()), 1):
        files = place.files
        picture = files.picture(place.row, place.rank)
        frame = Frame.whole(files.width, files.height)
        yield KeptPicture(index, f"{checked.manifest.dataset} {index}", encode_png(picture), frame)
        on_step(Step("packing", done, len(checked.places)))
