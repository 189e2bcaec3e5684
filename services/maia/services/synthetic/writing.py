"""Exemplars of synthetic neurons as MAIA lays them out.

<out>/labels/<mode>.json                      a list of {"label", "image_names", "activations"}, one for each unit
<out>/synthetic_neurons/<mode>/
    images.npy          uint8 (units, 15, size, size, 3)
    masks.npy           uint8 (units, 15, size, size, 3), 0 and 255
    activations.csv     units × 15, descending
    ids.csv             units × 15, places in the sorted folder; -1 where a unit has fewer exemplars, whose picture is
                        black, its mask 0 and its activation 0; MAIA has no such file
    thresholds.csv      0 for each unit, which is exactly 0 where it does not respond; MAIA has no such file
    created.json        what they were made from
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.model import TOP
from maia.services.exemplars.row_file import row_file
from maia.services.subject.backends.photograph_neurons.options import NAME
from maia.services.subject.backends.photograph_neurons.table import Mode, read_labels
from maia.services.synthetic.ranking import Ranked
from maia.wire.errors import MaiaError, PreconditionError

_CREATED: Final = "created.json"


@dataclass(frozen=True, slots=True)
class UnitExemplars:
    """What the label file says of a unit, and what of its pictures was left out.

    Attributes:
        label: As it was given.
        image_names: Of its exemplars.
        activations: Of each of them, descending.
        unreadable: Pictures that could not be read.
    """

    label: str
    image_names: tuple[str, ...]
    activations: tuple[float, ...]
    unreadable: int


def labels_path(out: Path, mode: Mode) -> Path:
    """Return where the label file goes; the subject server's --labels takes its folder."""
    return out / "labels" / f"{mode}.json"


def exemplars_folder(out: Path, mode: Mode) -> Path:
    """Return where the exemplars go."""
    return out / NAME / str(mode)


def is_there(out: Path, mode: Mode, made_from: Mapping[str, Any]) -> bool:
    """Return whether exactly this was written already.

    Args:
        out: Where to.
        mode: Of the units.
        made_from: Keys of the results of all units, "units"; side of the pictures, "size"; and what else.

    Raises:
        PreconditionError: OUT_EXISTS: something else was.
    """
    folder = exemplars_folder(out, mode)
    if not folder.exists():
        return False
    try:
        told = json.loads((folder / _CREATED).read_bytes())
    except (OSError, ValueError):
        told = None
    if told != made_from:
        raise _exists(folder, "holds exemplars that were made from something else")
    return True


def check_labels(out: Path, mode: Mode, labels: Sequence[str], given: Path | None) -> None:
    """Refuse to write over somebody's label file.

    Args:
        out: Where to.
        mode: Of the units.
        labels: Of the units.
        given: The label file that they are from.

    Raises:
        PreconditionError: OUT_EXISTS.
    """
    path = labels_path(out, mode)
    if not path.exists():
        return
    try:
        same = read_labels(path) == list(labels)
    except MaiaError:
        same = False
    if not same or (given is not None and path.samefile(given)):
        raise _exists(path, "would be written over")


def write_labels(out: Path, mode: Mode, units: Sequence[UnitExemplars]) -> None:
    """Write the label file, whole or not at all.

    Args:
        out: Where to.
        mode: Of the units.
        units: In their order.
    """
    entries = [
        {"label": unit.label, "image_names": unit.image_names, "activations": unit.activations} for unit in units
    ]
    path = labels_path(out, mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(entries, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_exemplars(out: Path, mode: Mode, units: Iterable[Ranked], made_from: Mapping[str, Any]) -> None:
    """Write the folder of a mode; it appears whole or not at all.

    Args:
        out: Where to.
        mode: Of the units.
        units: In their order; held one at a time.
        made_from: As `is_there` takes it.
    """
    count, size = len(made_from["units"]), made_from["size"]
    shape = (count, TOP, size, size, 3)
    with (
        new_folder(exemplars_folder(out, mode)) as folder,
        row_file(folder / "images.npy", np.uint8, shape) as append_images,
        row_file(folder / "masks.npy", np.uint8, shape) as append_masks,
    ):
        activations = np.zeros((count, TOP), np.float32)
        ids = np.full((count, TOP), -1, np.int64)
        for row, ranked in enumerate(units):
            there = len(ranked.slots)
            images, masks = np.zeros((2, *shape[1:]), np.uint8)
            images[:there] = ranked.images
            masks[:there] = ranked.masks[..., np.newaxis] * np.uint8(255)
            append_images(images)
            append_masks(masks)
            activations[row, :there] = ranked.activations
            ids[row, :there] = ranked.slots
        np.savetxt(folder / "activations.csv", activations, fmt="%.5e", delimiter=",")
        np.savetxt(folder / "ids.csv", ids, fmt="%d", delimiter=",")
        np.savetxt(folder / "thresholds.csv", np.zeros(count), fmt="%.5e")
        (folder / _CREATED).write_text(json.dumps(made_from, indent=1) + "\n", encoding="utf-8")


def _exists(path: Path, why: str) -> PreconditionError:
    return PreconditionError(
        f"{path} {why}; name another --out, or move it away", reason="OUT_EXISTS", metadata={"path": str(path)}
    )
