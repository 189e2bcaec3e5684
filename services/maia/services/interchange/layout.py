"""Where layers lie: `<root>/<model>/<dataset>/<layer>`, and `<root>/<model>/<layer>` of MAIA's synthetic neurons."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maia.services.interchange.failures import files_missing, reading, setting_invalid, shown
from maia.services.interchange.layer_files import ACTIVATIONS, IMAGES, MASKS, LayerFiles, open_layer
from maia.services.interchange.names import name_of, natural_order

__all__ = ["LEVELS", "SYNTHETIC_DATASET", "FoundLayer", "find_layers"]

LEVELS: Final = 3
"""Folders between the root and a layer's files, the layer's own among them."""

SYNTHETIC_DATASET: Final = "synthetic"
"""What the dataset of synthetic neurons is called, for which their layout has no folder."""


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """Files of a layer, and what their folders say that it is of."""

    model: str
    dataset: str
    layer: str
    files: LayerFiles


def find_layers(where: Path, levels: int = LEVELS) -> list[FoundLayer]:
    """Open all layers in a folder, which may be a layer's own or one above it.

    Args:
        where: The folder.
        levels: How far below it layers are looked for.

    Returns:
        By model and dataset, layers in natural order.

    Raises:
        NotFoundError: FILES_MISSING.
        PreconditionError: FILES_DAMAGED or FILES_UNREADABLE.
        InvalidRequestError: SETTING_INVALID: a folder too near to "/" has no name for a model.
    """
    if not where.is_dir():
        is_file = where.exists()
        raise files_missing(where, "is no folder; unpack it and name its folder" if is_file else "does not exist")
    folders = list(_folders(Path(os.path.abspath(where)), levels))  # noqa: PTH100  resolve() would rename links
    if not folders:
        raise files_missing(
            where,
            f"holds no exemplars: {IMAGES}, {MASKS} and {ACTIVATIONS} were looked for there and up to {levels} folders "
            "below",
        )
    found = [_found(folder) for folder in folders]
    return sorted(found, key=lambda one: (one.model, one.dataset, natural_order(one.layer)))


def _folders(folder: Path, levels: int) -> Iterator[Path]:
    with reading(folder):
        inside = sorted(folder.iterdir())
    if {IMAGES, MASKS, ACTIVATIONS} & {path.name for path in inside}:
        yield folder
    elif levels:
        for path in inside:
            if path.is_dir() and not path.name.startswith("."):
                yield from _folders(path, levels - 1)


def _found(folder: Path) -> FoundLayer:
    files = open_layer(folder)
    if files.synthetic:
        model, dataset = folder.parent.name, SYNTHETIC_DATASET
    else:
        model, dataset = folder.parent.parent.name, folder.parent.name
    if not (model and dataset):
        raise setting_invalid(
            f"{shown(folder)} lies too near to / to say of which model and dataset it is; move it into "
            "<model>/<dataset>/<layer>"
        )
    return FoundLayer(name_of(model), name_of(dataset), name_of(folder.name), files)
