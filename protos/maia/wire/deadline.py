"""The instant by which a caller wants its answer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Protocol

from maia.wire.errors import DeadlineExceededError


class _Timed(Protocol):
    """What a gRPC servicer context says of its deadline."""

    def time_remaining(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Deadline:
    """An instant on this process's monotonic clock; `inf` when the caller set none."""

    at: float = math.inf

    @classmethod
    def of(cls, context: _Timed) -> Deadline:
        """Return the deadline of the call that a servicer is answering."""
        remaining = context.time_remaining()
        return cls() if remaining is None else cls.after(remaining)

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Return the seconds left, negative once it has passed, `inf` without a deadline."""
        return self.at - time.monotonic()

    def check(self, doing: str) -> None:
        """Raise if the deadline has passed.

        Args:
            doing: What is not going to be done, for the message: "measuring".

        Raises:
            DeadlineExceededError: It has passed.
        """
        if self.remaining() <= 0:
            raise DeadlineExceededError(f"the caller's deadline passed before {doing}")
