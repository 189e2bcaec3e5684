"""What synthetic units look at: the things on a picture, how strongly each counts, and where it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maia.services.scenes.segment import Region, segment
from maia.wire.pictures import Rgb

MAP_SIDE: Final = 28
MAX_ACTIVATION: Final = 10.0

Map: TypeAlias = NDArray[np.float32]
"""float32, (MAP_SIDE, MAP_SIDE)."""

_TYPICAL_AREA: Final = 0.05  # share of the picture at which a thing has 63 % of full strength: a medium one
_MIN_SIDE: Final = 16  # of a picture that can be segmented
_EDGE: Final = 0.3  # coverage of a grid cell, relative to the fullest, that is still outside


@dataclass(frozen=True, slots=True)
class Seen:
    """A thing on a picture.

    Attributes:
        region: What it is.
        strength: How strongly it counts, 0 to MAX_ACTIVATION: by its visible area and the segmenter's confidence.
        outline: Where it is, 0 to 1, soft at its edge.
    """

    region: Region
    strength: float
    outline: Map


def look(rgb: Rgb) -> Sequence[Seen]:
    """Return the things on a picture of any size."""
    height, width = rgb.shape[:2]
    if min(height, width) < _MIN_SIDE:
        larger = (max(width, _MIN_SIDE), max(height, _MIN_SIDE))
        rgb = np.asarray(Image.fromarray(rgb).resize(larger, Image.Resampling.BICUBIC))
    seen = []
    for region in segment(rgb).regions:
        area = float(region.mask.mean())
        if area > 0:
            strength = MAX_ACTIVATION * region.confidence * (1 - math.exp(-area / _TYPICAL_AREA))
            seen.append(Seen(region, strength, _outline(region)))
    return seen


def _outline(region: Region) -> Map:
    """Return how much of each grid cell a thing covers, relative to the fullest cell, falling to 0 at its edge."""
    mask = Image.fromarray(region.mask.view(np.uint8) * np.uint8(255))
    coverage = np.asarray(mask.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BOX), np.float32)
    inside: Map = (coverage / max(float(coverage.max()), 1.0) - _EDGE) / (1 - _EDGE)
    return np.clip(inside, 0.0, 1.0)
