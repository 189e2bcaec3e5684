"""What an editor is, whatever edits: no gRPC here, and no diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from maia.wire.pictures import Rgb


@dataclass(frozen=True, slots=True)
class EditorInfo:
    """What callers may know of an editor.

    Attributes:
        name: For example "scenes".
        revision: Changes whenever the same edit may give another picture.
        instruction_guide: How to write instructions for it, in plain text; enters an agent's system prompt.
    """

    name: str
    revision: str
    instruction_guide: str


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit to make.

    Attributes:
        data: The picture's file, since a file may carry more than its pixels.
        rgb: The same, decoded: uint8, shape (height, width, 3).
        instruction: What to change.
        seed: 0 to 2**64 - 1.
    """

    data: bytes
    rgb: Rgb
    instruction: str
    seed: int


@dataclass(frozen=True, slots=True)
class Edited:
    """A picture, as the bytes of a PNG, and a sentence for each thing that could not be done."""

    png: bytes
    warnings: tuple[str, ...]


class Editor(Protocol):
    """Edits pictures. Only the model thread calls `edit`."""

    @property
    def info(self) -> EditorInfo:
        """Its description; never changes."""
        ...

    def edit(self, edits: Sequence[Edit]) -> list[Edited]:
        """Make one batch of edits; each gives the same result whatever else is in its batch."""
        ...
