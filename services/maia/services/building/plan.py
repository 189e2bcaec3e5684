"""What a pass is: everything that its result depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from maia.services.exemplars.model import QUANTILE, TOP, Manifest, StoredLayer

__all__ = ["BATCH", "SAMPLES", "Plan", "Shard"]

BATCH: Final = 32
"""Pictures that are looked at together, unless another number is asked for."""

SAMPLES: Final = 500
"""Pictures of the sample, if the dataset has so many."""


class Plan(BaseModel):
    """Parts of one pass, made on whatever machines, belong together if their plans are equal.

    Attributes:
        state: Format of the files of a pass that is not over.
        subject: Its name.
        subject_revision: Of its weights and code.
        layers: In the order of the pass.
        dataset: Its name.
        dataset_revision: Of its pictures.
        size: Pictures in it.
        batch: Pictures that are looked at together, since neighbours may change an answer by rounding.
        top: Leaders of each unit.
        samples: Pictures of the sample.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: Literal[1] = 1
    subject: str
    subject_revision: str
    layers: tuple[StoredLayer, ...]
    dataset: str
    dataset_revision: str
    size: int = Field(ge=1)
    batch: int = Field(ge=1)
    top: int = Field(default=TOP, ge=1)
    samples: int = Field(default=SAMPLES, ge=0)
    quantile: float = QUANTILE

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits of all of it."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @property
    def batches(self) -> int:
        """How many there are."""
        return -(-self.size // self.batch)

    def sample(self) -> NDArray[np.int64]:
        """Return the places of the sample, int64, ascending: chosen by a hash, so the same in every part."""
        slots = np.arange(self.size, dtype=np.uint64)
        with np.errstate(over="ignore"):  # splitmix64
            mixed = (slots + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
        return np.sort(np.argsort(mixed, kind="stable")[: self.samples]).astype(np.int64)

    def manifest(self, samples: int) -> Manifest:
        """Return what the set says of itself.

        Args:
            samples: Pictures of the sample that could be read.
        """
        return Manifest(
            subject=self.subject,
            subject_revision=self.subject_revision,
            dataset=self.dataset,
            dataset_revision=self.dataset_revision,
            dataset_size=self.size,
            top=self.top,
            sample_size=self.samples,
            samples=samples,
            layers=self.layers,
        )


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a pass.

    Attributes:
        index: From 0.
        count: Of all parts.
    """

    index: int = 0
    count: int = 1

    def batches(self, plan: Plan) -> range:
        """Return its batches: parts are cut where batches are, so that each batch is the same in any division."""
        return range(plan.batches * self.index // self.count, plan.batches * (self.index + 1) // self.count)

    @property
    def file_name(self) -> str:
        """Of its state."""
        return f"{self.index}-of-{self.count}.npz"
