"""Files that somebody may replace while they are in use."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

_Stamp = tuple[tuple[int, int, int], ...]


class Watch:
    """Tells when one of some files has changed, by its inode, its size and its time; links are followed."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._seen = self._stamp()

    def changed(self) -> bool:
        """Whether they differ from the last time, which this becomes."""
        with self._lock:
            before, self._seen = self._seen, self._stamp()
            return before != self._seen

    def _stamp(self) -> _Stamp:
        stamps = []
        for file in self._files:
            try:
                found = file.stat()
                stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
            except OSError:
                stamps.append((0, 0, 0))  # that it cannot be read is told by who reads it
        return tuple(stamps)
