"""Values that have no type of their own in Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from maia.sandbox.errors import ProtocolError

__all__ = ["BYTES_PER_PIXEL", "MAX_SIDE", "ImageRef", "Namespace", "Pixels"]

BYTES_PER_PIXEL: Final = {"L": 1, "RGB": 3, "RGBA": 4}
MAX_SIDE: Final = 16384
"""Largest width or height of an image, in pixels."""


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ProtocolError(f"an image of {width}×{height} pixels; each side must be 1 to {MAX_SIDE}")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image that stays outside the sandbox, known by an id of its session.

    Attributes:
        id: What the session's `ImageSource` knows it by; means nothing in another session.
        width: In pixels.
        height: In pixels.

    Raises:
        ProtocolError: An empty or overlong id, or a size out of bounds.
    """

    id: str
    width: int
    height: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.id) <= 200:
            raise ProtocolError(f"an image id of {len(self.id)} characters; it must have 1 to 200")
        _check_size(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Pixels:
    """An image as raw pixels.

    Attributes:
        mode: "L", "RGB" or "RGBA".
        width: In pixels.
        height: In pixels.
        data: uint8, row by row, width × height × channels bytes.

    Raises:
        ProtocolError: Another mode, a size out of bounds, or data of another length.
    """

    mode: str
    width: int
    height: int
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.mode not in BYTES_PER_PIXEL:
            raise ProtocolError(f"pixels of mode {self.mode[:20]!r}; it must be one of {', '.join(BYTES_PER_PIXEL)}")
        _check_size(self.width, self.height)
        expected = self.width * self.height * BYTES_PER_PIXEL[self.mode]
        if len(self.data) != expected:
            raise ProtocolError(
                f"{len(self.data)} bytes for {self.width}×{self.height} {self.mode} pixels; it must be {expected}"
            )


@dataclass(frozen=True, slots=True)
class Namespace:
    """One of a session's objects, passed as an argument: `system` in `tools.dataset_exemplars(system)`."""

    name: str
