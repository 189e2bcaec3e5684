"""The pictures that drive each unit of a layer most, as a pass goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Arrivals", "Leaders"]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What a batch brings.

    Attributes:
        slots: int64, (pictures,): places in the dataset, ascending, after all that came before.
        frames: float64, (pictures, 4): left, top, right, bottom of what the maps cover.
        activations: float32, (pictures, units).
        maps: Returns float16, (some, h, w), for pictures and units of the batch, pair by pair.
    """

    slots: NDArray[np.int64]
    frames: NDArray[np.float64]
    activations: NDArray[np.float32]
    maps: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float16]]


@dataclass(slots=True, eq=False)
class Leaders:
    """Each unit's best so far. Of equal activations the earlier place in the dataset is better.

    Attributes:
        activations: float32, (units, top), descending; -inf where there is none yet.
        slots: int64, (units, top); -1 where there is none yet.
        frames: float64, (units, top, 4).
        stored: float16, (units, top, h, w): the maps, each where there was room when it came. They are the largest
            thing here, and moving them would take a part of the time of a small network's pass.
        places: int64, (units, top): where in `stored` the map of each is.
    """

    activations: NDArray[np.float32]
    slots: NDArray[np.int64]
    frames: NDArray[np.float64]
    stored: NDArray[np.float16]
    places: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """The maps come in order."""
        units, top = self.slots.shape
        self.places = np.tile(np.arange(top), (units, 1))

    @property
    def maps(self) -> NDArray[np.float16]:
        """The maps in order, float16, (units, top, h, w)."""
        return self.stored[np.arange(len(self.places))[:, np.newaxis], self.places]

    @classmethod
    def none(cls, units: int, top: int, height: int, width: int) -> Self:
        """Return a list without anybody in it."""
        return cls(
            np.full((units, top), -np.inf, np.float32),
            np.full((units, top), -1, np.int64),
            np.zeros((units, top, 4)),
            np.zeros((units, top, height, width), np.float16),
        )

    def add(self, batch: Arrivals) -> None:
        """Take in what is better than the last of a unit's."""
        top = self.slots.shape[1]
        better = np.flatnonzero(batch.activations.max(axis=0, initial=-np.inf) > self.activations[:, -1])
        if not len(better):
            return
        new = np.ascontiguousarray(batch.activations[:, better].T)
        # Only those who might get in: sorting whole batches would take longer than the pass of a small network.
        most = min(top, new.shape[1])
        candidates = np.sort(np.argsort(-new, axis=1, kind="stable")[:, :most], axis=1)
        values = np.concatenate([self.activations[better], np.take_along_axis(new, candidates, axis=1)], axis=1)
        # A stable sort keeps equal ones in the order in which they came, which is that of the dataset.
        order = np.argsort(-values, axis=1, kind="stable")[:, :top]
        rows, ranks = np.nonzero(order >= top)
        pictures = candidates[rows, order[rows, ranks] - top]
        units = better[rows]
        arrived = batch.maps(pictures, units)
        leaving = np.ones((len(better), top), np.bool_)
        leaving[np.nonzero(order < top)[0], order[order < top]] = False
        # As many leave a unit as arrive at it: both are listed unit after unit.
        room = self.places[better][leaving]
        stays = np.where(order < top, order, 0)
        for array in (self.slots, self.frames, self.places):
            array[better] = array[better[:, np.newaxis], stays]
        self.activations[better] = np.take_along_axis(values, order, axis=1)
        self.slots[units, ranks] = batch.slots[pictures]
        self.frames[units, ranks] = batch.frames[pictures]
        self.places[units, ranks] = room
        self.stored[units, room] = arrived

    def merge(self, other: Leaders) -> None:
        """Take in another part's list, whatever part of the dataset it is of."""
        top = self.slots.shape[1]
        activations = np.concatenate([self.activations, other.activations], axis=1)
        slots = np.concatenate([self.slots, other.slots], axis=1)
        order = np.lexsort((slots, -activations), axis=1)[:, :top]
        rows = np.arange(len(order))[:, np.newaxis]
        self.frames = np.concatenate([self.frames, other.frames], axis=1)[rows, order]
        self.stored = np.concatenate([self.maps, other.maps], axis=1)[rows, order]
        self.places = np.tile(np.arange(top), (len(order), 1))
        self.activations = np.take_along_axis(activations, order, axis=1)
        self.slots = np.take_along_axis(slots, order, axis=1)
