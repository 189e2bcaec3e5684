"""What is kept of a subject's pass over a dataset: values, without gRPC or files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from maia.wire.maps import Frame

TOP = 15
"""Pictures kept of each unit, unless another number is asked for."""

QUANTILE = 0.99
"""Of a unit's values over all positions of all pictures: the threshold of its masks."""

MAX_UNITS = 1 << 24
"""Of a layer; more is a damaged number."""

FORMAT = 2
"""Of what is on disk."""


class StoredLayer(BaseModel):
    """A layer of an exemplar set.

    Attributes:
        name: As the subject names it.
        units: How many the layer has; the set may hold some of them only, which its `units.npy` names.
        map_height: Of its activation maps; of its masks where the set has those instead.
        map_width: See map_height.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    units: int = Field(ge=1, le=MAX_UNITS)
    map_height: int = Field(ge=1)
    map_width: int = Field(ge=1)


class Manifest(BaseModel):
    """What an exemplar set says of itself; its `manifest.json`.

    Attributes:
        format: Of the files.
        subject: Its name.
        subject_revision: Of what was measured; "" where nobody knows: an imported set.
        dataset: Its name.
        dataset_revision: Changes with the pictures.
        dataset_size: Pictures that were passed over, readable or not.
        top: Pictures of each unit, at most.
        sample_size: Pictures whose activation was to be kept for all units, whatever it is.
        samples: Those of them that could be read.
        regions: What is kept of each top picture: its activation map, or a mask.
        layers: In the order of the pass.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2
    subject: str
    subject_revision: str
    dataset: str
    dataset_revision: str
    dataset_size: int = Field(ge=1)
    top: int = Field(ge=1)
    sample_size: int = Field(default=0, ge=0)
    samples: int = Field(default=0, ge=0)
    regions: Literal["maps", "masks"] = "maps"
    layers: tuple[StoredLayer, ...]


@dataclass(frozen=True, slots=True)
class LayerArrays:
    """What is kept of one layer; a row is a unit, or one of those that `units` names.

    Attributes:
        indices: int64, (rows, top): places in the dataset, highest activation first; -1 where there are fewer.
        activations: float32, (rows, top): spatial maxima.
        maps: float16, (rows, top, h, w), if the set's regions are maps.
        masks: uint8, (rows, top, bytes): one bit a pixel, row by row, if its regions are masks.
        units: int64, (rows,), ascending; None if the rows are all units.
        thresholds: float32, (rows,): the 0.99 quantile of all values; None if unknown. `statistics` too.
        mean: float64, (rows,): of all values.
        density: float64, (rows,): share of all values that are above zero.
        edges: float32, (rows, bins + 1), ascending.
        histogram: int64, (rows, bins): values between each two edges.
        sampled: float32, (rows, samples): activations on the set's sample of the dataset.
    """

    indices: NDArray[np.int64]
    activations: NDArray[np.float32]
    maps: NDArray[np.float16] | None = None
    masks: NDArray[np.uint8] | None = None
    units: NDArray[np.int64] | None = None
    thresholds: NDArray[np.float32] | None = None
    mean: NDArray[np.float64] | None = None
    density: NDArray[np.float64] | None = None
    edges: NDArray[np.float32] | None = None
    histogram: NDArray[np.int64] | None = None
    sampled: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class KeptPicture:
    """A picture of the dataset that some unit's exemplars need.

    Attributes:
        index: Its place in the dataset.
        title: What people call it.
        data: The file as it came.
        frame: What of it the maps and masks cover.
    """

    index: int
    title: str
    data: bytes
    frame: Frame


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A dataset picture and what a unit showed there.

    Attributes:
        picture: The original.
        activation: Spatial maximum.
        map: float16, (h, w); None if the set has a mask, or nothing but the activation, of it.
        mask: bool, (h, w); see map.
    """

    picture: KeptPicture
    activation: float
    map: NDArray[np.float16] | None = None
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """A unit's values at all positions of all pictures.

    Attributes:
        threshold: Their 0.99 quantile; None if unknown, as everything here.
        mean: Of them.
        density: Share above zero.
        edges: float32, (bins + 1,).
        histogram: int64, (bins,).
    """

    threshold: float | None
    mean: float | None = None
    density: float | None = None
    edges: NDArray[np.float32] | None = None
    histogram: NDArray[np.int64] | None = None
