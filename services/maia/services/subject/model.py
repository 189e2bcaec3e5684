"""What a subject is, whatever computes it: no gRPC here, and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maia.wire.errors import NotFoundError, OutOfRangeError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb


@dataclass(frozen=True, slots=True)
class Unit:
    """One channel of one layer, both named as the subject names them."""

    layer: str
    index: int


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose channels can be measured, and the size of its activation maps."""

    name: str
    units: int
    map_height: int
    map_width: int


@dataclass(frozen=True, slots=True)
class SubjectInfo:
    """What callers may know of a subject.

    Attributes:
        name: What `--model` takes.
        title: One sentence for people.
        layers: Shallow to deep.
        input_size: Side of the square input in pixels.
        revision: Changes whenever a measurement may change.
        precision: Of the forward pass: "float32", "bfloat16" or "float16".
    """

    name: str
    title: str
    layers: tuple[Layer, ...]
    input_size: int
    revision: str
    precision: str = "float32"

    def check(self, unit: Unit) -> None:
        """Refuse a unit that the subject does not have.

        Raises:
            NotFoundError: LAYER_UNKNOWN, metadata "valid".
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
        """
        layer = next((layer for layer in self.layers if layer.name == unit.layer), None)
        if layer is None:
            valid = ", ".join(layer.name for layer in self.layers)
            raise NotFoundError(
                f"{self.name} has no layer {unit.layer!r:.100}; it has {valid}",
                reason="LAYER_UNKNOWN",
                metadata={"layer": unit.layer, "valid": valid},
            )
        if not 0 <= unit.index < layer.units:
            raise OutOfRangeError(
                f"{self.name} {layer.name} has units 0 to {layer.units - 1}, not {unit.index}",
                reason="UNIT_OUT_OF_RANGE",
                metadata={"layer": layer.name, "index": str(unit.index), "units": str(layer.units)},
            )


@dataclass(frozen=True, slots=True)
class Measurements:
    """How units responded to pictures.

    Attributes:
        activations: float32, shape (pictures, units), the spatial maximum of the raw layer output.
        maps: Per unit, in the order asked: float16, shape (pictures, h, w), the raw layer output. Empty when only
            activations were asked for.
        frames: Per picture, what its maps cover.
    """

    activations: NDArray[np.float32]
    maps: tuple[NDArray[np.float16], ...]
    frames: tuple[Frame, ...]


class Subject(Protocol):
    """A frozen model. Only the model thread calls `measure`."""

    @property
    def info(self) -> SubjectInfo:
        """Its description; never changes."""
        ...

    def measure(self, pictures: Sequence[Rgb], units: Sequence[Unit], *, maps: bool = True) -> Measurements:
        """Measure units on one batch of pictures, in one pass that stops after the deepest layer asked for.

        Args:
            pictures: uint8, (height, width, 3), of any sizes, each at least 1 × 1; preprocessing is the subject's.
            units: All exist; duplicates are answered as often as they are asked.
            maps: Whether to return the maps as well.
        """
        ...
