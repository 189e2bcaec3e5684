"""Files that somebody may replace while they are in use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from maia.wire.errors import MaiaError

_T = TypeVar("_T")
_Stamp = tuple[tuple[int, int, int], ...]


class Watched(Generic[_T]):
    """What some files hold, read again once they have changed; links are followed.

    Attributes:
        current: What they held when they could last be used.
    """

    def __init__(self, files: Sequence[Path], read: Callable[[], _T]) -> None:
        """Read them.

        Args:
            files: Which.
            read: Returns what they hold; whatever `MaiaError` it raises leaves `current` as it was.
        """
        self._files = files
        self._read = read
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._told = ""
        self.current = read()

    def look(self) -> bool:
        """Return whether they now hold something else.

        Raises:
            MaiaError: They cannot be used; raised once for each cause, though every look tries them anew. What mends
                them may leave no trace on them: another process that had taken all descriptors, a clock that was wrong.
        """
        with self._lock:
            stamp = self._stamp()
            if stamp == self._seen:
                return False
            try:
                fresh = self._read()
            except MaiaError as error:
                if error.message == self._told:
                    return False
                self._told = error.message
                raise
            self._seen, self._told = stamp, ""
            before, self.current = self.current, fresh
            return before != fresh

    def _stamp(self) -> _Stamp:
        stamps = []
        for file in self._files:
            try:
                found = file.stat()
                # Not the time of its contents, which stays as it was where only the owner or the mode is mended, and
                # which tools that copy may set to that of the original.
                stamps.append((found.st_ino, found.st_size, found.st_ctime_ns))
            except OSError:
                stamps.append((0, 0, 0))  # that it cannot be read is told by who reads it
        return tuple(stamps)
