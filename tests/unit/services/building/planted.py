"""Datasets and subjects whose every value a test knows beforehand."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from maia.services.building.plan import Plan
from maia.services.exemplars.model import StoredLayer
from maia.services.subject.backends.networks.answers import LayerAnswers, Reading
from maia.services.subject.backends.networks.layout import Form, Layout
from maia.services.subject.model import Answers, Input, Layer, SubjectInfo
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb, encode_png


def numbered(slot: int) -> bytes:
    """A picture that says which it is; its size is its own too."""
    pixels = np.zeros((2 + slot % 3, 2 + slot % 5, 3), np.uint8)
    pixels[0, 0] = (slot // 65536, slot // 256 % 256, slot % 256)
    return encode_png(pixels)


def animation() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@dataclass
class Planted:
    """A dataset in memory; a `maia.services.building.datasets.dataset.Dataset`."""

    pictures: list[bytes]
    duplicates: Mapping[int, int] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    name: str = "planted"
    revision: str = "0123456789ab"
    notes: tuple[str, ...] = ()
    read_slots: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, slot: int) -> bytes:
        self.read_slots.append(slot)
        if slot in self.gone:
            raise FileNotFoundError(2, "No such file or directory")
        return self.pictures[slot]

    def title(self, slot: int) -> str:
        return f"picture {slot}.png"


@dataclass(frozen=True)
class Numbered:
    """A prepared picture; a `maia.services.subject.model.Input`."""

    slot: int
    frame: Frame


@dataclass(frozen=True)
class Plain:
    """Answers as subjects without torch give them; a `maia.services.subject.model.Answers`."""

    values: NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        return self.values.nbytes

    def maps(self, row: int, units: Sequence[int]) -> NDArray[np.float32]:
        maps: NDArray[np.float32] = self.values[row][list(units)]
        return maps


class Table:
    """A subject that looks its answers up; a `maia.services.subject.model.Subject`.

    Args:
        layers: By name, float32, (pictures of the dataset, units, h, w).
        plain: Answer as a subject without torch.
    """

    nbytes = 0

    def __init__(self, layers: Mapping[str, NDArray[np.float32]], *, plain: bool = False) -> None:
        self.layers, self.plain = dict(layers), plain
        self.batches: list[list[int]] = []
        described = tuple(Layer(name, *array.shape[1:]) for name, array in layers.items())
        self.info = SubjectInfo("table", "A table.", described, 8, "0123456789ab")

    def prepare(self, rgb: Rgb) -> Numbered:
        high, middle, low = (int(part) for part in rgb[0, 0])
        return Numbered(high * 65536 + middle * 256 + low, Frame.whole(rgb.shape[1], rgb.shape[0]))

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> dict[str, Answers]:
        slots = [one.slot for one in inputs if isinstance(one, Numbered)]
        self.batches.append(slots)
        return {name: self._answers(self.layers[name][slots]) for name in layers}

    def _answers(self, values: NDArray[np.float32]) -> Answers:
        if self.plain:
            return Plain(values)
        tensor = torch.from_numpy(values).contiguous(memory_format=torch.channels_last)
        return LayerAnswers(tensor, Layout(Form.MAP, *values.shape[1:]), Reading())


def plan_for(dataset: Planted, subject: Table, **changed: Any) -> Plan:
    """The plan of a pass."""
    layers = tuple(
        StoredLayer(name=one.name, units=one.units, map_height=one.map_height, map_width=one.map_width)
        for one in subject.info.layers
    )
    given: dict[str, Any] = {
        "subject": subject.info.name,
        "subject_revision": subject.info.revision,
        "layers": layers,
        "dataset": dataset.name,
        "dataset_revision": dataset.revision,
        "size": len(dataset),
        "batch": 4,
        "top": 3,
        "samples": 5,
    }
    return Plan(**{**given, **changed})


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their paths in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
