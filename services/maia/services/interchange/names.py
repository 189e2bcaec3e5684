"""Names of models, datasets and layers as names of folders, and back."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

__all__ = ["folder_name", "name_of", "natural_order"]

_UNSAFE: Final = re.compile(r"[/\\%\x00-\x1f\x7f]|^\.|^$")
_NUMBER: Final = re.compile(r"(\d+)")


def folder_name(name: str) -> str:
    """Return the folder of a name: "timm:a/b" is "timm:a%2Fb", most names stay as they are."""
    return _UNSAFE.sub(lambda found: f"%{ord(found.group()):02X}" if found.group() else "%", name)


def name_of(folder: str) -> str:
    """Return the name that `folder_name` made this of; any other folder's name is its own."""
    name = "" if folder == "%" else unquote(folder)
    return name if folder_name(name) == folder else folder


def natural_order(name: str) -> tuple[tuple[str, int], ...]:
    """Return a key that sorts "layer2" before "layer10"."""
    parts = _NUMBER.split(name)
    numbers = [int(part) for part in parts[1::2]] + [-1]
    return tuple(zip(parts[::2], numbers, strict=True))
