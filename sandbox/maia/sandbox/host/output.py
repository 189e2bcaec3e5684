"""What a guest prints, bounded in bytes and cut at a character."""

from __future__ import annotations

import codecs
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Output"]

_CHUNK: Final = 1 << 16
_MAX_DRAIN: Final = 1 << 22
"""Most bytes read at once; a pipe holds far less unless someone keeps writing."""


class Output:
    """One block's output."""

    def __init__(self, limit: int, on_text: Callable[[str], None] | None) -> None:
        """Start empty.

        Args:
            limit: Bytes to keep.
            on_text: Called with each piece as it comes, the note about the cut included.
        """
        self._limit = limit
        self._on_text = on_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []
        self.total_bytes = 0
        self.ended = False

    @property
    def exceeded(self) -> bool:
        """Whether something was cut off."""
        return self.total_bytes > self._limit

    @property
    def text(self) -> str:
        """All that was kept."""
        return "".join(self._parts)

    def read(self, descriptor: int) -> bool:
        """Take what a non-blocking descriptor has to give, one chunk of it. Returns whether there was any."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        self.ended = not data
        self._add(data)
        return bool(data)

    def catch_up(self, descriptor: int) -> None:
        """Take all that a non-blocking descriptor has to give, within reason, so that what follows stands after."""
        for _ in range(_MAX_DRAIN // _CHUNK):
            if not self.read(descriptor):
                break

    def drain(self, descriptor: int) -> None:
        """Catch up, and end the text."""
        self.catch_up(descriptor)
        if not self.exceeded:
            self._emit(self._decoder.decode(b"", final=True))

    def _add(self, data: bytes) -> None:
        room = self._limit - self.total_bytes
        self.total_bytes += len(data)
        if room < 0 or not data:
            return
        if len(data) <= room:
            self._emit(self._decoder.decode(data))
        else:  # a character that the limit splits is dropped with the rest
            self._emit(self._decoder.decode(data[:room]) + f"\n[output cut at {self._limit:,} bytes]\n")

    def _emit(self, text: str) -> None:
        if text:
            self._parts.append(text)
            if self._on_text is not None:
                self._on_text(text)
