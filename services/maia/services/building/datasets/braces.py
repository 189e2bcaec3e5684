"""Brace patterns of names, as WebDataset and shells have them: shards-{000..007}.tar, {train,val}-{0..9}.tar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_BRACES: Final = re.compile(r"\{(\d+\.\.\d+|[^{}]*,[^{}]*)\}")


def has_braces(pattern: str) -> bool:
    """Whether a name is a pattern."""
    return _BRACES.search(pattern) is not None


def expanded(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern stands for, one by one: a range may have more than fit into memory.

    A number that begins with 0 is as wide as the wider of its range's ends.
    """
    found = _BRACES.search(pattern)
    if found is None:
        yield pattern
        return
    before, after = pattern[: found.start()], pattern[found.end() :]
    for choice in _choices(found[1]):
        for rest in expanded(after):
            yield before + choice + rest


def _choices(inside: str) -> Iterator[str]:
    if "," in inside:
        yield from inside.split(",")
        return
    first, last = inside.split("..")
    padded = any(len(end) > 1 and end.startswith("0") for end in (first, last))
    width = max(len(first), len(last)) if padded else 0
    step = 1 if int(first) <= int(last) else -1
    for number in range(int(first), int(last) + step, step):
        yield f"{number:0{width}d}"
