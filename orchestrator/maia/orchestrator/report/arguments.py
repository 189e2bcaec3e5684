"""A tool call's arguments in one short line: all of them are in the journal, and most on the page as pictures."""

from __future__ import annotations

import json
from typing import Final

from maia.orchestrator.report.visible import shorten

LIMIT: Final = 400
"""Characters of the line."""

_ITEMS: Final = 3


def arguments(value: object) -> str:
    """Return a call's journaled arguments without its brackets: names, values, "15 images" for images."""
    named = value.items() if isinstance(value, dict) else [("", value)]
    return shorten(", ".join(f"{name}={_plain(item)}" if name else _plain(item) for name, item in named), LIMIT)


def _plain(value: object) -> str:
    match value:
        case {"image": str(), **rest} if not rest:
            return "1 image"
        case {"object": str(name), **rest} if not rest:
            return name
        case dict():
            return "{" + ", ".join(f"{key}: {_plain(item)}" for key, item in value.items()) + "}"
        case list():
            return _list(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def _list(items: list[object]) -> str:
    if len(items) > 1 and all(isinstance(item, dict) and set(item) == {"image"} for item in items):
        return f"{len(items)} images"
    if len(items) <= _ITEMS + 1:
        return f"[{', '.join(_plain(item) for item in items)}]"
    return f"[{', '.join(_plain(item) for item in items[:_ITEMS])}, … {len(items) - _ITEMS} more]"
