"""From a picture of any size to the network's input."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from maia.wire.maps import Frame

INPUT_SIZE: Final = 112
"""Side of the network's square input in pixels."""


def to_input(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Crop the centre square and resize it (bilinear, antialiased) to the network's input.

    Args:
        rgb: uint8, (height, width, 3), any size from 1×1.

    Returns:
        uint8, (INPUT_SIZE, INPUT_SIZE, 3).
    """
    frame = Frame.centre_square(rgb.shape[1], rgb.shape[0])
    left, top = math.floor(frame.left), math.floor(frame.top)
    # Cropped first, since resizing alone would let the pixels beside the frame bleed into its edges.
    square = rgb[top : math.ceil(frame.bottom), left : math.ceil(frame.right)]
    box = (frame.left - left, frame.top - top, frame.right - left, frame.bottom - top)
    return np.asarray(Image.fromarray(square).resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR, box=box))
