"""What is kept of a subject's pass over a dataset: values, without gRPC or files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from maia.wire.maps import Frame

TOP = 15
"""Pictures kept of each unit."""

QUANTILE = 0.99
"""Of a unit's values over all positions of all pictures: the threshold of its masks."""


class StoredLayer(BaseModel):
    """A layer of an exemplar set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    units: int = Field(ge=1)
    map_height: int = Field(ge=1)
    map_width: int = Field(ge=1)


class Manifest(BaseModel):
    """What an exemplar set says of itself; its `manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    subject: str
    subject_revision: str
    dataset: str
    dataset_revision: str
    dataset_size: int = Field(ge=1)
    top: int = Field(ge=1)
    layers: tuple[StoredLayer, ...]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One of a unit's top pictures: the original as PNG, and what the unit showed there."""

    png: bytes
    activation: float
    frame: Frame
    map: NDArray[np.float16]
    dataset_index: int
