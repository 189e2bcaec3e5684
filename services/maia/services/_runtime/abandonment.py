"""Whether anybody still waits for a piece of work, asked from the model's thread."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from maia.wire.deadline import Deadline


class Abandonment:
    """A call's interest in its work: it ends with the deadline, or when the caller leaves the `with` block.

    A cancelled call leaves it while its work still runs in the model's thread, which asks between two steps.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._left = threading.Event()

    def __call__(self) -> bool:
        """Whether nobody waits any more."""
        return self._left.is_set() or self._deadline.remaining() <= 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._left.set()
