"""A detector that finds what was planted: squares whose colour names the concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from maia.services.subject.backends.photograph_neurons.detecting import MAP_SIDE, Detection, Map, Sight
from maia.wire.pictures import Rgb

CONCEPTS = ("dog", "cat", "tree", "car window")
"""Each with the red value of its pixels, its place here plus one times 50; the green value is the score in percent."""


@dataclass(frozen=True)
class Planted:
    """A square on the grid of maps."""

    concept: str
    score: float
    row: int
    column: int
    side: int = 4

    def outline(self) -> Map:
        found = np.zeros((MAP_SIDE, MAP_SIDE), np.float32)
        found[self.row : self.row + self.side, self.column : self.column + self.side] = 1
        return found


def picture(*planted: Planted, scale: int = 1) -> Rgb:
    """Draw squares that do not overlap."""
    rgb = np.zeros((MAP_SIDE, MAP_SIDE, 3), np.uint8)
    for number, one in enumerate(planted):
        colour = (50 * (CONCEPTS.index(one.concept) + 1), round(one.score * 100), 100 + number)
        rgb[one.row : one.row + one.side, one.column : one.column + one.side] = colour
    return rgb.repeat(scale, 0).repeat(scale, 1)


class PlantedDetector:
    """Reads squares from pixels alone; counts what it is asked."""

    revision = "1"
    nbytes = 7

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def check(self, concepts: Sequence[str]) -> None:
        if "x" in concepts:
            raise ValueError("it has one letter")

    def prepare(self, rgb: Rgb) -> Sight:
        # The middle of each cell.
        rows, columns = ((np.arange(MAP_SIDE) + 0.5) * side / MAP_SIDE for side in rgb.shape[:2])
        cells: Rgb = rgb[rows.astype(int)[:, None], columns.astype(int)[None]]
        return cells

    def detect(self, sight: Sight, concepts: Sequence[str]) -> Mapping[str, Sequence[Detection]]:
        self.asked.append(tuple(concepts))
        cells = cast("Rgb", sight)
        found: dict[str, Sequence[Detection]] = {}
        for concept in concepts:
            of_concept = np.abs(cells[..., 0].astype(int) - 50 * (CONCEPTS.index(concept) + 1)) < 20
            found[concept] = [
                Detection(
                    float(np.median(cells[..., 1][of_concept & (cells[..., 2] == number)])) / 100,
                    (of_concept & (cells[..., 2] == number)).astype(np.float32),
                )
                for number in np.unique(cells[..., 2][of_concept])
            ]
        return found
