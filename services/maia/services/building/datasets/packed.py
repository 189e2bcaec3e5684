"""The names and sizes of a million pictures without a million objects."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNREADABLE: Final = -1
"""The size of a picture that could not be looked at when the dataset was listed."""


class PackedNames:
    """Byte strings in one buffer, each by its number. Append first, read then: from many threads at once."""

    __slots__ = ("_buffer", "_ends")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        if not 0 <= number < len(self):
            raise IndexError(f"there are names 0 to {len(self) - 1}, not {number}")
        return bytes(self._buffer[self._ends[number] : self._ends[number + 1]])

    def __iter__(self) -> Iterator[bytes]:
        return (self[number] for number in range(len(self)))

    def append(self, name: bytes) -> None:
        """Add a name, with the next number."""
        self._buffer += name
        self._ends.append(len(self._buffer))


class PictureList:
    """Pictures by name and size, in the order of the dataset."""

    __slots__ = ("_sizes", "names")

    def __init__(self) -> None:
        self.names = PackedNames()
        self._sizes = array("q")

    def __len__(self) -> int:
        return len(self.names)

    def append(self, name: bytes, size: int) -> None:
        """Add a picture.

        Args:
            name: In the dataset.
            size: In bytes, or UNREADABLE.
        """
        self.names.append(name)
        self._sizes.append(size)

    def size(self, slot: int) -> int:
        """Return a picture's size in bytes, or UNREADABLE.

        Raises:
            IndexError: There is no such picture; -1 is none.
        """
        if not 0 <= slot < len(self):
            raise IndexError(f"there are pictures 0 to {len(self) - 1}, not {slot}")
        return self._sizes[slot]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """All sizes in bytes, or UNREADABLE; shape (pictures,), a view."""
        return np.frombuffer(self._sizes, np.int64)

    def revision(self) -> str:
        """Return 12 hexadecimal digits that change with any name, any size and the order."""
        digest = hashlib.sha256()
        for size, name in zip(self._sizes, self.names, strict=True):
            digest.update(b"%d %d %b\n" % (size, len(name), name))
        return digest.hexdigest()[:12]
