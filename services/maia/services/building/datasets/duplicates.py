"""Pictures that a dataset has more than once: the same bytes under another name.

Few files are read whole. Only those of equal size are opened, at both ends; only those whose ends are equal too are
read to the end. Keys are packed into arrays, so that a million pictures take some tens of megabytes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from maia.services.building.datasets.packed import UNREADABLE
from maia.services.building.datasets.progress import Progress
from maia.wire.errors import MaiaError
from maia.wire.limits import MAX_PICTURE_BYTES

_END: Final = 4096  # bytes that are compared first, at either end
_CHUNK: Final = 1 << 20
_THREADS: Final = 16  # they mostly wait for the disk
_WINDOW: Final = 2048  # pictures that are handed to the threads at once

_Slots = NDArray[np.int64]
_Keys = NDArray[np.uint64]


class Readable(Protocol):
    """Pictures whose parts can be read, by many threads at once."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """In bytes, or UNREADABLE; shape (pictures,)."""
        ...

    def parts(self, slot: int, spans: Sequence[range]) -> Iterator[bytes]:
        """Yield parts of a picture, one after the other.

        Raises:
            OSError: It cannot be read.
            MaiaError: It cannot be read.
        """
        ...


class DuplicateSearch:
    """Finds the duplicates of a dataset when somebody first asks, and once."""

    def __init__(self, pictures: Readable, progress: Progress) -> None:
        self._pictures = pictures
        self._progress = progress
        self._lock = threading.Lock()
        self._found: Mapping[int, int] | None = None

    def found(self) -> Mapping[int, int]:
        """Return, for each picture that is one again, the first slot with the same bytes.

        What cannot be read is a duplicate of nothing.
        """
        with self._lock:
            if self._found is None:
                self._found = MappingProxyType(self._search())
            return self._found

    def _search(self) -> dict[int, int]:
        sizes = self._pictures.sizes
        # One that is too large is left out anyway, and would take long to compare.
        readable = np.flatnonzero((sizes != UNREADABLE) & (sizes <= MAX_PICTURE_BYTES))
        slots, _ = _shared(readable, sizes[readable].astype(np.uint64)[:, None])
        slots, firsts = self._alike(np.sort(slots), sizes, _ends, done=0)
        # The two ends of a small file are all of it.
        small = sizes[slots] <= 2 * _END
        found = dict(zip(slots[small].tolist(), firsts[small].tolist(), strict=True))
        slots, firsts = self._alike(np.sort(slots[~small]), sizes, _everything, done=int(small.sum()))
        found.update(zip(slots.tolist(), firsts.tolist(), strict=True))
        return {slot: first for slot, first in sorted(found.items()) if slot != first}

    def _alike(
        self, slots: _Slots, sizes: NDArray[np.int64], spans: Callable[[int], Sequence[range]], *, done: int
    ) -> tuple[_Slots, _Slots]:
        """Return those of the slots that share their size and these parts, and the first slot that has the same."""

        def digest(slot: int) -> bytes:
            digest = hashlib.sha256()
            try:
                for part in self._pictures.parts(slot, spans(int(sizes[slot]))):
                    digest.update(part)
            except (OSError, MaiaError):
                return b""
            return digest.digest()

        keys = np.zeros((len(slots), 5), np.uint64)
        keys[:, 0] = sizes[slots]
        read = np.zeros(len(slots), np.bool_)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="comparing") as threads:
            # All at once would be a million futures.
            for start in range(0, len(slots), _WINDOW):
                for row, key in enumerate(threads.map(digest, slots[start : start + _WINDOW].tolist()), start):
                    if key:
                        read[row] = True
                        keys[row, 1:] = np.frombuffer(key, np.uint64)
                    self._progress("comparing", done + row + 1, done + len(slots))
        return _shared(slots[read], keys[read])


def _ends(size: int) -> list[range]:
    return [range(size)] if size <= 2 * _END else [range(_END), range(size - _END, size)]


def _everything(size: int) -> list[range]:
    return [range(start, min(start + _CHUNK, size)) for start in range(0, size, _CHUNK)]


def _shared(slots: _Slots, keys: _Keys) -> tuple[_Slots, _Slots]:
    """Return the slots whose keys others have too, and for each the lowest slot with the same keys.

    Args:
        slots: Shape (n,).
        keys: Shape (n, k).
    """
    if not len(slots):
        return slots, slots
    order = np.lexsort((slots, *keys.T))
    slots, keys = slots[order], keys[order]
    begins = np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)])
    run = np.cumsum(begins) - 1
    shared = np.bincount(run)[run] > 1
    return slots[shared], slots[begins][run][shared]
