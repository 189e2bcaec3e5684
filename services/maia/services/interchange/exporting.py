"""Exemplars of the store as MAIA's and MILAN's files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import KeptPicture, LayerArrays
from maia.services.exemplars.row_file import row_file
from maia.services.interchange.failures import shown, writing
from maia.services.interchange.layer_files import ACTIVATIONS, IDS, IMAGES, MASKS, THRESHOLDS, UNITS
from maia.services.interchange.names import folder_name
from maia.services.interchange.pictures import stored_picture
from maia.services.interchange.progress import OnStep, Step, unheard
from maia.services.interchange.regions import CROPPED, Cut, region
from maia.services.interchange.tables import write_table
from maia.wire.errors import PreconditionError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

__all__ = ["Exported", "export_layers"]

_NUMBER: Final = "%.5e"
_KEPT: Final = 256
"""Prepared pictures that are kept in memory, because units share many."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Files of a layer.

    Attributes:
        folder: Where they are.
        units: Rows.
        top: Pictures of each.
        notes: Sentences that people should see.
    """

    folder: Path
    units: int
    top: int
    notes: tuple[str, ...]


def export_layers(layers: Sequence[ExemplarLayer], root: Path, on_step: OnStep = unheard) -> list[Exported]:
    """Write `<root>/<model>/<dataset>/<layer>/` for each layer; all folders appear when all are whole.

    Pictures are cut as MAIA's dataset transform does, unless they are 224 × 224 and were measured whole. Those of a set
    with masks, which was imported, stay as they are, and so do their masks.

    Args:
        layers: Of one model and dataset.
        root: May be there already, but not with these layers.
        on_step: Is told "writing".

    Raises:
        PreconditionError: OUTPUT_EXISTS, FOLDER_UNWRITABLE, or EXEMPLARS_EMPTY: a layer without a single picture.
        InternalError: EXEMPLARS_DAMAGED.
    """
    plans = [_planned(layer, root) for layer in layers]
    total = sum(int((plan.arrays.indices >= 0).sum()) for plan in plans)
    done = 0

    def on_written() -> None:
        nonlocal done
        done += 1
        on_step(Step("writing", done, total))

    with writing(root), ExitStack() as appearing:
        building = [appearing.enter_context(new_folder(plan.folder)) for plan in plans]
        for plan, folder in zip(plans, building, strict=True):
            _write_pictures(plan, folder, on_written)
            _write_tables(plan, folder)
    return [Exported(plan.folder, len(plan.units), plan.top, _notes(plan)) for plan in plans]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to write of a layer, and where."""

    layer: ExemplarLayer
    arrays: LayerArrays
    folder: Path
    units: list[int]
    top: int


def _planned(layer: ExemplarLayer, root: Path) -> _Plan:
    manifest, name = layer.manifest, layer.layer.name
    folder = root / folder_name(manifest.subject) / folder_name(manifest.dataset) / folder_name(name)
    if folder.exists():
        raise PreconditionError(
            f"{shown(folder)} is there already; remove it, or choose another folder",
            reason="OUTPUT_EXISTS",
            metadata={"path": shown(folder)},
        )
    arrays = layer.arrays
    filled = np.flatnonzero((arrays.indices >= 0).any(axis=0))
    if not len(filled):
        raise PreconditionError(
            f"the exemplars of {shown(manifest.subject)} {shown(name)} have no picture that could be written",
            reason="EXEMPLARS_EMPTY",
        )
    units = list(range(layer.layer.units)) if arrays.units is None else arrays.units.tolist()
    return _Plan(layer, arrays, folder, units, int(filled[-1]) + 1)


def _write_pictures(plan: _Plan, folder: Path, on_written: Callable[[], None]) -> None:
    prepared = _Prepared(plan.layer)
    height, width = prepared.height, prepared.width
    rows, top = len(plan.units), plan.top
    with (
        row_file(folder / IMAGES, np.uint8, (rows, top, 3, height, width)) as append_images,
        row_file(folder / MASKS, np.uint8, (rows, top, 1, height, width)) as append_masks,
    ):
        for unit in plan.units:
            images = np.zeros((top, 3, height, width), np.uint8)
            masks = np.zeros((top, 1, height, width), np.uint8)
            threshold = plan.layer.statistics(unit).threshold
            for rank, exemplar in enumerate(plan.layer.exemplars(unit)):
                picture, frame = prepared.get(exemplar.picture)
                images[rank] = picture.transpose(2, 0, 1)
                masks[rank, 0] = region(exemplar, (height, width), frame, threshold)
                on_written()
            append_images(images)
            append_masks(masks)


def _write_tables(plan: _Plan, folder: Path) -> None:
    arrays = plan.arrays
    indices = np.array(arrays.indices[:, : plan.top])
    write_table(folder / ACTIVATIONS, np.where(indices >= 0, arrays.activations[:, : plan.top], -np.inf), _NUMBER)
    write_table(folder / IDS, indices, "%d")
    if arrays.units is not None:
        np.save(folder / UNITS, np.array(arrays.units), allow_pickle=False)
    if arrays.thresholds is not None:
        write_table(folder / THRESHOLDS, np.array(arrays.thresholds), _NUMBER)


def _notes(plan: _Plan) -> tuple[str, ...]:
    thresholds: NDArray[np.float32] | None = plan.arrays.thresholds
    if thresholds is None:
        return (f"{shown(plan.layer.layer.name)} has no thresholds, so no {THRESHOLDS} was written, which MAIA needs",)
    unknown = int((~np.isfinite(thresholds)).sum())
    return (f"{unknown} units of {shown(plan.layer.layer.name)} have no threshold: nan",) if unknown else ()


@dataclass(slots=True)
class _Prepared:
    """Pictures of a layer as they are written, the last few kept."""

    layer: ExemplarLayer
    _kept: OrderedDict[int, tuple[Rgb, Frame]] = field(default_factory=OrderedDict)

    @property
    def height(self) -> int:
        return self.layer.layer.map_height if self._stays else CROPPED

    @property
    def width(self) -> int:
        return self.layer.layer.map_width if self._stays else CROPPED

    @property
    def _stays(self) -> bool:
        return self.layer.manifest.regions == "masks"

    def get(self, picture: KeptPicture) -> tuple[Rgb, Frame]:
        """Return uint8, (height, width, 3), and what of it the maps cover."""
        found = self._kept.pop(picture.index, None)
        if found is None:
            rgb = stored_picture(self.layer, picture)
            whole = rgb.shape[:2] == (CROPPED, CROPPED) and picture.frame == Frame.whole(CROPPED, CROPPED)
            if self._stays or whole:
                found = rgb, picture.frame
            else:
                cut = Cut.of(rgb.shape[1], rgb.shape[0])
                found = cut.apply(rgb), cut.moved(picture.frame)
        self._kept[picture.index] = found
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found
