"""What a subject is, whatever computes it: no gRPC here, and no torch."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from maia.wire.errors import NotFoundError, OutOfRangeError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

_NAMES_SHOWN: Final = 12
_NAME_CHARS: Final = 200  # comparing takes long with long ones


@dataclass(frozen=True, slots=True)
class Unit:
    """One channel of one layer, both named as the subject names them."""

    layer: str
    index: int


class LayerKind(StrEnum):
    """What the units of a layer are."""

    CHANNEL = "channel"
    """A channel of a convolution or of a sequence of tokens, which is laid out as a map without its class token."""

    CLASS = "class"
    """An output of the classifier; its map has one place and covers all that the subject looked at."""

    DIRECTION = "direction"
    """A direction in the channels of another layer, such as a latent of a sparse autoencoder."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer whose units can be measured, and the size of its activation maps."""

    name: str
    units: int
    map_height: int
    map_width: int
    kind: LayerKind = LayerKind.CHANNEL


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
        classes: What its classifier tells apart, in the order of its outputs; empty without one.
    """

    name: str
    title: str
    layers: tuple[Layer, ...]
    input_size: int
    revision: str
    precision: str = "float32"
    classes: tuple[str, ...] = ()

    def check(self, unit: Unit) -> None:
        """Refuse a unit that the subject does not have.

        Raises:
            NotFoundError: LAYER_UNKNOWN, metadata "valid": the nearest names, if they are many.
            OutOfRangeError: UNIT_OUT_OF_RANGE, metadata "units".
        """
        layer = next((layer for layer in self.layers if layer.name == unit.layer), None)
        if layer is None:
            valid = ", ".join(_nearest(unit.layer, [layer.name for layer in self.layers]))
            raise NotFoundError(
                f"{self.name} has no layer {unit.layer!r:.100}; it has {valid}",
                reason="LAYER_UNKNOWN",
                metadata={"layer": unit.layer[:_NAME_CHARS], "valid": valid},
            )
        if not 0 <= unit.index < layer.units:
            raise OutOfRangeError(
                f"{self.name} {layer.name} has units 0 to {layer.units - 1}, not {unit.index}",
                reason="UNIT_OUT_OF_RANGE",
                metadata={"layer": layer.name, "index": str(unit.index), "units": str(layer.units)},
            )


class Input(Protocol):
    """A picture made ready for one subject."""

    @property
    def frame(self) -> Frame:
        """What of the picture the maps cover."""
        ...


class Answers(Protocol):
    """What one layer answered to one batch of pictures. Immutable, and read by any thread."""

    @property
    def nbytes(self) -> int:
        """The memory that it holds."""
        ...

    def maps(self, row: int, units: Sequence[int]) -> NDArray[np.float32]:
        """Return the raw outputs of units for one picture.

        Args:
            row: The picture's place in the batch.
            units: Indices in the layer, each in its range.

        Returns:
            float32, (len(units), h, w).
        """
        ...


class Subject(Protocol):
    """A frozen model."""

    @property
    def info(self) -> SubjectInfo:
        """Its description; never changes."""
        ...

    @property
    def nbytes(self) -> int:
        """The memory that its weights take, on the device where they are."""
        ...

    def prepare(self, rgb: Rgb) -> Input:
        """Do all that can be done for a picture alone: resize, crop, normalise. Called by any thread, many at once.

        Args:
            rgb: uint8, (height, width, 3), of any size from 1 × 1.
        """
        ...

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> Mapping[str, Answers]:
        """Look at a batch in one pass that stops after the deepest layer asked for. Called by the model's thread alone.

        Args:
            inputs: From `prepare`, of one compatibility key.
            layers: All exist; none twice.

        Returns:
            One for each layer.
        """
        ...


@runtime_checkable
class Classifier(Subject, Protocol):
    """A subject whose outputs are classes."""

    def classify(self, inputs: Sequence[Input], ablation: Ablation | None = None) -> NDArray[np.float32]:
        """Return the probabilities of all classes, float32, (len(inputs), classes). Called by the model's thread alone.

        Args:
            inputs: From `prepare`.
            ablation: What to do to a unit on the way.
        """
        ...


@runtime_checkable
class Selective(Subject, Protocol):
    """A subject to which each unit is work of its own, so that a layer is not looked at whole for one of them."""

    def part(self, unit: Unit) -> str:
        """Return the name of a part of the unit's layer: `look` takes it as a layer, and answers for its units alone.

        Args:
            unit: Exists.
        """
        ...


def parts_of(subject: Subject, units: Iterable[Unit]) -> dict[Unit, str]:
    """Return what `look` has to be asked for to measure each unit: its layer, or a part of it.

    Args:
        subject: Will look.
        units: All exist; duplicates count once.
    """
    selective = subject if isinstance(subject, Selective) else None
    return {unit: selective.part(unit) if selective else unit.layer for unit in units}


@dataclass(frozen=True, slots=True)
class Ablation:
    """Hold a channel at one value, at every place of its map."""

    unit: Unit
    value: float = 0.0


def _nearest(name: str, names: Sequence[str]) -> Sequence[str]:
    if len(names) <= _NAMES_SHOWN:
        return names
    return difflib.get_close_matches(name[:_NAME_CHARS], names, _NAMES_SHOWN, 0.0)
