"""Answers that were given lately, by what was asked."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

__all__ = ["Remembered"]

_MOST: Final = 4096


class Remembered:
    """The latest answers, for any thread.

    A request of which one item fails is made again as a whole: what was answered of it by then is not asked again,
    which a vendor would count.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = Lock()
        self._answers: OrderedDict[bytes, str] = OrderedDict()

    def get(self, asked: bytes) -> str | None:
        """Return the answer to what has this digest, None if it is not known."""
        with self._lock:
            if asked in self._answers:
                self._answers.move_to_end(asked)
            return self._answers.get(asked)

    def put(self, asked: bytes, answer: str) -> None:
        """Keep an answer, and forget the one that was used longest ago if there are too many."""
        with self._lock:
            self._answers[asked] = answer
            self._answers.move_to_end(asked)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
