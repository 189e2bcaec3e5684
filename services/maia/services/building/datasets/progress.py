"""How a dataset says what it is doing while it is opened or compared."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done ("rendering", "preparing", "listing" or "comparing"), how many pictures are done,
and how many there are, 0 as long as nobody knows."""


def unheard(what: str, done: int, total: int) -> None:
    """Tell nobody."""
