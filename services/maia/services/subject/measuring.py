"""From what a subject answered to what a caller asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maia.services.subject.model import Answers, Subject, Unit, parts_of
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb


@dataclass(frozen=True, slots=True)
class Measurements:
    """How units responded to pictures.

    Attributes:
        activations: float32, shape (pictures, units), the spatial maximum of the raw layer output.
        maps: Per unit, in the order asked: float16, shape (pictures, h, w), the raw layer output.
        frames: Per picture, what its maps cover.
    """

    activations: NDArray[np.float32]
    maps: tuple[NDArray[np.float16], ...]
    frames: tuple[Frame, ...]


def measure(subject: Subject, pictures: Sequence[Rgb], units: Sequence[Unit]) -> Measurements:
    """Measure units on one batch of pictures, in one pass, on the caller's thread.

    Args:
        subject: Measures.
        pictures: uint8, (height, width, 3), of any sizes, each at least 1 × 1.
        units: All exist; duplicates are answered as often as they are asked.
    """
    inputs = [subject.prepare(rgb) for rgb in pictures]
    parts = parts_of(subject, units)
    answers = subject.look(inputs, list(dict.fromkeys(parts.values())))
    by_picture = [
        outputs({part: (one, row) for part, one in answers.items()}, units, parts) for row in range(len(inputs))
    ]
    return Measurements(
        activations=np.array([[raw.max() for raw in one] for one in by_picture], np.float32),
        maps=tuple(np.stack(of_unit).astype(np.float16) for of_unit in zip(*by_picture, strict=True)),
        frames=tuple(one.frame for one in inputs),
    )


def outputs(
    answers: Mapping[str, tuple[Answers, int]], units: Sequence[Unit], parts: Mapping[Unit, str]
) -> list[NDArray[np.float32]]:
    """Return what units answered to one picture: float32, (h, w) each, in the order asked.

    Args:
        answers: By part, what it answered to a batch, and which of the batch the picture is.
        units: Of these parts.
        parts: Of each of them, from `parts_of`.
    """
    places: dict[str, list[int]] = {}
    for place, unit in enumerate(units):
        places.setdefault(parts[unit], []).append(place)
    found: dict[int, NDArray[np.float32]] = {}
    for part, where in places.items():
        one, row = answers[part]
        found.update(zip(where, one.maps(row, [units[place].index for place in where]), strict=True))
    return [found[place] for place in range(len(units))]
