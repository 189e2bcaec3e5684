"""The pixels of an exemplar where its unit responds, and pictures as MAIA's dataset transform leaves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maia.services.exemplars.model import Exemplar
from maia.wire.maps import Frame, masked_pixels
from maia.wire.pictures import Rgb

__all__ = ["CROPPED", "MAP_QUANTILE", "Cut", "region"]

CROPPED: Final = 224
_RESIZED: Final = 256

MAP_QUANTILE: Final = 0.95
"""Of a map's own values: the threshold where a unit's is unknown, as everywhere in the project."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What MAIA's dataset transform does to a picture: the shorter side to 256, then the central 224 × 224.

    Attributes:
        left: Of what is kept, in pixels of the picture.
        top: See left.
        right: See left.
        bottom: See left.
    """

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, width: int, height: int) -> Cut:
        """Return the cut of a picture; rounding is torchvision's."""
        shorter = min(width, height)
        sides = [_RESIZED if side == shorter else _RESIZED * side // shorter for side in (width, height)]
        starts = [round((side - CROPPED) / 2) for side in sides]
        (left, right), (top, bottom) = (
            (start * side / resized, (start + CROPPED) * side / resized)
            for start, side, resized in zip(starts, (width, height), sides, strict=True)
        )
        return cls(left, top, right, bottom)

    def apply(self, rgb: Rgb) -> Rgb:
        """Return uint8, (224, 224, 3); resized and cropped in one step, so that a long picture needs no more memory."""
        box = (self.left, self.top, self.right, self.bottom)
        image = Image.fromarray(rgb, "RGB").resize((CROPPED, CROPPED), Image.Resampling.BILINEAR, box=box)
        return np.asarray(image)

    def moved(self, frame: Frame) -> Frame:
        """Return where a frame of the picture lies in what `apply` returns."""
        wide = CROPPED / (self.right - self.left)
        high = CROPPED / (self.bottom - self.top)
        return Frame(
            (frame.left - self.left) * wide,
            (frame.top - self.top) * high,
            (frame.right - self.left) * wide,
            (frame.bottom - self.top) * high,
        )


def region(exemplar: Exemplar, shape: tuple[int, int], frame: Frame, threshold: float | None) -> NDArray[np.bool_]:
    """Return the pixels where an exemplar's unit responds.

    Args:
        exemplar: With a map or a mask.
        shape: (height, width) of the picture that is asked about; a mask's own.
        frame: What of it the map covers.
        threshold: The unit's; None for the 0.95 quantile of the map itself.

    Returns:
        bool, shape (height, width).
    """
    if exemplar.mask is not None:
        return exemplar.mask
    assert exemplar.map is not None, "a set has maps or masks"
    if threshold is None:
        threshold = float(np.quantile(exemplar.map.astype(np.float32), MAP_QUANTILE))
    return masked_pixels(shape, exemplar.map, frame, threshold)
