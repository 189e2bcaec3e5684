"""Activation maps, frames and masks: on the wire, and laid over a picture.

`masked_pixels` is the only place that turns a map into a mask and `darken` the only one that makes a masked view, so
that what an agent sees and what a describer is asked about is the same region.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maia.type.v1 import type_pb2
from maia.wire.errors import InvalidRequestError
from maia.wire.limits import MAX_MAP_SIDE, MAX_PICTURE_PIXELS
from maia.wire.pictures import Rgb

_FLOAT16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class Frame:
    """The box of a picture that an activation map covers, in pixels of the upright picture.

    Raises:
        ValueError: A coordinate is not finite, or the box is empty.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        finite = all(math.isfinite(side) for side in (self.left, self.top, self.right, self.bottom))
        if not finite or self.left >= self.right or self.top >= self.bottom:
            raise ValueError(f"no box: {self}")

    @classmethod
    def whole(cls, width: int, height: int) -> Frame:
        """Return the frame of a map that covers the whole picture."""
        return cls(0.0, 0.0, float(width), float(height))

    @classmethod
    def centre_square(cls, width: int, height: int) -> Frame:
        """Return the frame of a subject that resizes the shorter side to its input and crops the centre."""
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        return cls(left, top, left + side, top + side)

    @classmethod
    def from_proto(cls, frame: type_pb2.Frame) -> Frame:
        """Read a frame.

        Raises:
            InvalidRequestError: FRAME_MALFORMED.
        """
        try:
            return cls(frame.left, frame.top, frame.right, frame.bottom)
        except ValueError as error:
            raise InvalidRequestError(f"the frame is malformed: {error}", reason="FRAME_MALFORMED") from error

    def to_proto(self) -> type_pb2.Frame:
        """Return the message."""
        return type_pb2.Frame(left=self.left, top=self.top, right=self.right, bottom=self.bottom)


def map_to_proto(values: NDArray[np.floating]) -> type_pb2.ActivationMap:
    """Pack a map of shape (h, w) as float16; numbers beyond its range are held at ±65504."""
    height, width = values.shape
    if values.dtype != np.float16:
        values = np.clip(values, -_FLOAT16_MAX, _FLOAT16_MAX)
    return type_pb2.ActivationMap(height=height, width=width, values=values.astype("<f2").tobytes())


def map_from_proto(message: type_pb2.ActivationMap) -> NDArray[np.float16]:
    """Unpack a map.

    Returns:
        float16, shape (h, w), read-only.

    Raises:
        InvalidRequestError: MAP_MALFORMED: the bytes do not fit the size, or the size is out of bounds.
    """
    height, width = message.height, message.width
    bounded = 1 <= height <= MAX_MAP_SIDE and 1 <= width <= MAX_MAP_SIDE
    if not bounded or len(message.values) != 2 * height * width:
        raise InvalidRequestError(
            f"an activation map of {height} × {width} came with {len(message.values)} bytes", reason="MAP_MALFORMED"
        )
    return np.frombuffer(message.values, "<f2").reshape(height, width).astype(np.float16, copy=False)


def mask_to_proto(mask: NDArray[np.bool_]) -> type_pb2.Mask:
    """Pack a mask of shape (height, width), one bit a pixel."""
    height, width = mask.shape
    return type_pb2.Mask(height=height, width=width, bits=np.packbits(mask).tobytes())


def mask_from_proto(message: type_pb2.Mask, *, index: int = 0) -> NDArray[np.bool_]:
    """Unpack a mask.

    Args:
        message: The mask.
        index: Place of its picture in the request, for the error.

    Returns:
        bool, shape (height, width).

    Raises:
        InvalidRequestError: MASK_MISMATCHED, metadata "index": the bits do not fit the size that it states.
    """
    height, width = message.height, message.width
    pixels = height * width
    if not 1 <= pixels <= MAX_PICTURE_PIXELS or len(message.bits) != (pixels + 7) // 8:
        raise InvalidRequestError(
            f"the mask of picture {index} states {width} × {height} pixels but has {len(message.bits)} bytes",
            reason="MASK_MISMATCHED",
            metadata={"index": str(index)},
        )
    bits = np.unpackbits(np.frombuffer(message.bits, np.uint8), count=pixels)
    return bits.reshape(height, width).view(np.bool_)


def masked_pixels(
    shape: tuple[int, int], activation_map: NDArray[np.floating], frame: Frame, threshold: float
) -> NDArray[np.bool_]:
    """Return the pixels of a picture where a unit responds above a threshold.

    The map is upsampled bilinearly over its frame (align_corners=False, borders replicated).

    Args:
        shape: (height, width) of the picture.
        activation_map: Any float, shape (h, w).
        frame: What of the picture the map covers.
        threshold: Pixels above it are inside.

    Returns:
        bool, shape (height, width); False outside the frame.
    """
    height, width = shape
    mask = np.zeros((height, width), np.bool_)
    rows, row_weights = _interpolation(height, activation_map.shape[0], frame.top, frame.bottom)
    columns, column_weights = _interpolation(width, activation_map.shape[1], frame.left, frame.right)
    values = activation_map.astype(np.float32)
    upsampled = row_weights @ values @ column_weights.T
    # Rounding must not lift a plateau above its own value, which may be the threshold.
    mask[rows, columns] = np.minimum(upsampled, values.max()) > threshold
    return mask


def darken(rgb: Rgb, mask: NDArray[np.bool_]) -> Rgb:
    """Return the masked view: pixels outside the mask at a quarter of their brightness.

    Args:
        rgb: uint8, shape (height, width, 3).
        mask: bool, shape (height, width).
    """
    return np.where(mask[..., np.newaxis], rgb, rgb >> 2)


def _interpolation(pixels: int, cells: int, start: float, stop: float) -> tuple[slice, NDArray[np.float32]]:
    """Return which pixels of one axis have their centre in the frame, and their weights on the cells.

    Returns:
        The pixels, and float32 weights of shape (pixels inside, cells), each row summing to 1.
    """
    first = min(pixels, max(0, math.ceil(start - 0.5)))
    last = max(first, min(pixels, math.ceil(stop - 0.5)))
    position = (np.arange(first, last) + 0.5 - start) * (cells / (stop - start)) - 0.5
    position = np.clip(position, 0, cells - 1)
    low = np.minimum(position.astype(np.intp), max(cells - 2, 0))
    fraction = (position - low).astype(np.float32)
    weights = np.zeros((last - first, cells), np.float32)
    row = np.arange(last - first)
    weights[row, np.minimum(low + 1, cells - 1)] = fraction
    weights[row, low] += 1 - fraction
    return slice(first, last), weights
