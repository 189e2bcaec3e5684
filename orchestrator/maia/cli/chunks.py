"""Parts of a unit list, so that several commands share it: chunk i of n, counted from zero, as in MAIA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from maia.cli.errors import CommandError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One of `total` parts of a list, in its order; their sizes differ by one at the most."""

    total: int = 1
    index: int = 0

    @classmethod
    def of(cls, total: int | None, index: int | None) -> Chunk:
        """Return the chunk that two flags mean; without them it is the whole list.

        Raises:
            CommandError: One is given without the other, or is out of range.
        """
        if total is None and index is None:
            return cls()
        if total is None or index is None:
            given, missing = ("--chunk-id", "--total-chunks") if total is None else ("--total-chunks", "--chunk-id")
            raise CommandError(f"{given} needs {missing}, for example --total-chunks 4 --chunk-id 0")
        if total < 1:
            raise CommandError(f"--total-chunks is {total}; it must be at least 1")
        if not 0 <= index < total:
            raise CommandError(f"--chunk-id is {index}; of {total} chunks it must be 0 to {total - 1}")
        return cls(total, index)

    def of_list(self, items: Sequence[_T]) -> Sequence[_T]:
        """Return this part of a list; empty if the list is shorter than there are chunks."""
        count = len(items)
        return items[count * self.index // self.total : count * (self.index + 1) // self.total]
