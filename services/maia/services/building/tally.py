"""What a pass keeps of one layer: its leaders, how its values are distributed, and a sample of the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maia.services.building.exact_sums import ExactSums
from maia.services.building.leaders import Arrivals, Leaders
from maia.services.building.sketch import ValueSketch
from maia.services.exemplars.model import StoredLayer

__all__ = ["LayerTally", "NotFiniteError", "Workers"]

_FLOAT16_MAX: Final = 65504.0


@dataclass(frozen=True, slots=True)
class Workers:
    """Threads."""

    pool: Executor
    count: int


class NotFiniteError(Exception):
    """A unit's values are no numbers.

    Args:
        unit: Its index.
        slot: Of the picture.
    """

    def __init__(self, unit: int, slot: int) -> None:
        super().__init__(unit, slot)
        self.unit = unit
        self.slot = slot


class LayerTally:
    """Grows with each batch; those of parts of a dataset can be merged.

    Attributes:
        layer: Which.
        leaders: The pictures that drive each unit most.
        sums: Of all values of each unit.
        sampled: float32, (units, samples): activations on the sample; NaN where there is none.
        sample_frames: float64, (samples, 4): of the sample's pictures; NaN where there is none.
    """

    def __init__(self, layer: StoredLayer, top: int, samples: NDArray[np.int64], *, pictures: int) -> None:
        """Nothing is known yet.

        Args:
            layer: Which.
            top: Leaders of each unit.
            samples: Places in the dataset, ascending, whose activations are kept.
            pictures: That may come.
        """
        self.layer: Final = layer
        self.leaders = Leaders.none(layer.units, top, layer.map_height, layer.map_width)
        self.sums = ExactSums(layer.units)
        self.sampled = np.full((layer.units, len(samples)), np.nan, np.float32)
        self.sample_frames = np.full((len(samples), 4), np.nan)
        self._samples: Final = samples
        self._sketch = ValueSketch(layer.units, pictures * layer.map_height * layer.map_width)

    def add(self, values: Tensor, slots: NDArray[np.int64], frames: NDArray[np.float64], workers: Workers) -> None:
        """Take in a batch.

        Args:
            values: float32, (pictures, places, units).
            slots: int64, (pictures,): places in the dataset, ascending, after all that came before.
            frames: float64, (pictures, 4).
            workers: Count, if the values are on the host.

        Raises:
            NotFiniteError: A value is no number; nothing was taken in.
        """
        maxima = values.amax(dim=1).cpu().numpy()
        sums = _sums(values, workers)
        wrong = ~(np.isfinite(sums) & np.isfinite(maxima))
        if wrong.any():
            picture, unit = (int(place[0]) for place in np.nonzero(wrong))
            raise NotFiniteError(unit, int(slots[picture]))
        self.sums.add(sums)
        known = np.flatnonzero(np.isin(slots, self._samples))
        places = np.searchsorted(self._samples, slots[known])
        self.sampled[:, places] = maxima[known].T
        self.sample_frames[places] = frames[known]
        counted = values.reshape(-1, values.shape[2])
        counted = counted if counted.stride(1) == 1 else counted.contiguous()
        if counted.device.type != "cpu":
            self._sketch.add(counted, slice(None))
        else:
            borders = np.linspace(0, self.layer.units, workers.count + 1).astype(int).tolist()
            parts = [slice(start, stop) for start, stop in pairwise(borders) if start < stop]
            list(workers.pool.map(lambda part: self._sketch.add(counted, part), parts))

        def maps(pictures: NDArray[np.intp], units: NDArray[np.intp]) -> NDArray[np.float16]:
            chosen = values[torch.from_numpy(pictures), :, torch.from_numpy(units)]
            shape = (-1, self.layer.map_height, self.layer.map_width)
            return chosen.clamp(-_FLOAT16_MAX, _FLOAT16_MAX).half().cpu().numpy().reshape(shape)

        self.leaders.add(Arrivals(slots, frames, maxima, maps))

    def counts(self, units: slice = slice(None)) -> NDArray[np.int64]:
        """Return the distribution of units' values, as `ValueSketch.counts`."""
        return self._sketch.counts(units)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that it knows, for `restore` and `merge`."""
        counted, counts = self._sketch.sparse()
        return {
            "activations": self.leaders.activations,
            "slots": self.leaders.slots,
            "frames": self.leaders.frames,
            "maps": self.leaders.maps,
            "sums": self.sums.pieces,
            "sampled": self.sampled,
            "sample_frames": self.sample_frames,
            "counted": counted,
            "counts": counts,
        }

    def merge(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take in what another part of the dataset has brought; into an empty one, that alone."""
        self.leaders.merge(Leaders(*(state[name] for name in ("activations", "slots", "frames", "maps"))))
        self.sums.merge(state["sums"])
        for mine, other in ((self.sampled, state["sampled"]), (self.sample_frames, state["sample_frames"])):
            there = ~np.isnan(other)
            mine[there] = other[there]
        self._sketch.merge(state["counted"], state["counts"])


def _sums(values: Tensor, workers: Workers) -> NDArray[np.float64]:
    """The sum of each unit's values in each picture, (pictures, units).

    In float64, for float32 would leave seven digits of a mean; where the values are, if it knows such numbers.
    """
    if values.device.type not in {"cpu", "mps"}:
        return values.sum(dim=1, dtype=torch.float64).cpu().numpy()
    return np.stack(list(workers.pool.map(_sums_of_one, values.cpu().numpy())))


def _sums_of_one(values: NDArray[np.float32]) -> NDArray[np.float64]:
    # NumPy casts on the way, in pieces that stay in a core's cache; PyTorch would make a copy of all first.
    with np.errstate(invalid="ignore"):  # infinities of both signs; the caller refuses what comes of them
        sums: NDArray[np.float64] = np.add.reduce(values, axis=0, dtype=np.float64)
        return sums
