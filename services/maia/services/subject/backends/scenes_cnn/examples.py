"""Scenes drawn and labelled for training and for tests, in worker processes."""

from __future__ import annotations

import math
import multiprocessing
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.render import render
from maia.services.scenes.scene import Scene, Thing
from maia.services.subject.backends.scenes_cnn.preprocess import to_input
from maia.services.subject.backends.scenes_cnn.targets import kind, shown

TRAINING_FROM: Final = 1_000_000
"""Index of the first training scene, far beyond the fixed set that exemplars are taken from."""

HELD_OUT_FROM: Final = 2_000_000
"""Index of the first scene that the network is tested on."""

MOST_THINGS: Final = 4
"""How many things of one scene are told apart; the fixed set has no scene with more."""

_CHUNK: Final = 64


@dataclass(frozen=True, slots=True)
class Examples:
    """Pictures and what they show.

    Attributes:
        pixels: uint8, (pictures, INPUT_SIZE, INPUT_SIZE, 3).
        present: bool, (pictures, concepts): what is there, in the order of `targets.CONCEPTS`.
        centres: float32, (pictures, MOST_THINGS, 2): x and y of each thing, 0 to 1 from the left and from the top.
        kinds: int64, (pictures, MOST_THINGS, 3): `targets.kind` of each thing; -1 where there is none, or where another
            thing covers its centre.
    """

    pixels: npt.NDArray[np.uint8]
    present: npt.NDArray[np.bool_]
    centres: npt.NDArray[np.float32]
    kinds: npt.NDArray[np.int64]

    @classmethod
    def draw(cls, start: int, count: int, *, workers: int = 1) -> Self:
        """Draw the scenes `start` to `start + count - 1` of the endless scene set.

        Args:
            start: Index of the first scene.
            count: How many, at least 1.
            workers: Processes; 1 draws in this one.
        """
        stop = start + count
        chunks = [range(first, min(first + _CHUNK, stop)) for first in range(start, stop, _CHUNK)]
        if workers == 1:
            parts = [_draw(chunk) for chunk in chunks]
        else:
            # spawn: forking a process in which torch has started its threads may hang.
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                parts = pool.map(_draw, chunks, chunksize=1)
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _draw(indices: range) -> Examples:
    scenes = [fixed_scene(index) for index in indices]
    centres = np.zeros((len(scenes), MOST_THINGS, 2), dtype=np.float32)
    kinds = np.full((len(scenes), MOST_THINGS, 3), -1, dtype=np.int64)
    for row, scene in enumerate(scenes):
        for column, thing in enumerate(scene.things):
            centres[row, column] = thing.x, thing.y
            if not _covered(thing, scene):
                kinds[row, column] = kind(thing)
    pixels = np.stack([to_input(np.asarray(render(scene))) for scene in scenes])
    return Examples(pixels, np.stack([shown(scene) for scene in scenes]), centres, kinds)


def _covered(thing: Thing, scene: Scene) -> bool:
    """Whether another thing stands on the middle of this one, or within its hole."""
    others = (other for other in scene.things if other is not thing and other.radius < thing.radius)
    return any(math.hypot(other.x - thing.x, other.y - thing.y) < thing.radius for other in others)
