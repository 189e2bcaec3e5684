"""Where in a TOML file a name stands, and what it should have been: `tomllib` tells neither."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Sequence


def line_of(text: str, path: Sequence[str]) -> int | None:
    """Return the line, from 1, at which a name is first set.

    Args:
        text: Of the file, which is TOML.
        path: Tables and name: ("subject", "model").
    """
    lines = text.splitlines()
    before = 0
    # What is set by a line is what the text has with it and not without; a text that ends within a value is no TOML.
    for end in range(1, len(lines) + 1):
        try:
            found: object = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        if _has(found, path):
            return before + 1
        before = end
    return None


def place(file: object, text: str, path: Sequence[str]) -> str:
    """Return where a name stands, for a message: "in lab.toml, line 3"."""
    line = line_of(text, path)
    return f"in {file}, line {line}" if line else f"in {file}"


def meant(name: str, valid: Iterable[str]) -> str:
    """Return what ends a message about an unknown name: the nearest valid one, or all where none is near."""
    names = list(valid)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(names)}"


def _has(found: object, path: Sequence[str]) -> bool:
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True
