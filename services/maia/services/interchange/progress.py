"""How a command says what it is doing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Step:
    """How far something is.

    Attributes:
        doing: "checking", "packing", "writing", "downloading NAME" or "unpacking NAME".
        done: Of the total.
        total: 0 if nobody knows.
        counted: What is counted.
    """

    doing: str
    done: int
    total: int
    counted: Literal["pictures", "bytes"] = "pictures"


OnStep = Callable[[Step], None]
"""Is told each step, by the thread that called."""


def unheard(_step: Step) -> None:
    """Tell nobody."""
