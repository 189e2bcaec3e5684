"""What an editor is, whatever edits: no gRPC here, and no diffusers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.wire.errors import MaiaError
from maia.wire.pictures import Rgb


@dataclass(frozen=True, slots=True)
class EditorInfo:
    """What callers may know of an editor.

    Attributes:
        name: For example "scenes".
        revision: Changes whenever the same edit may give another picture.
        instruction_guide: How to write instructions for it, in plain text; enters an agent's system prompt.
        takes_empty: Whether it does something definite without an instruction.
    """

    name: str
    revision: str
    instruction_guide: str
    takes_empty: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit to make.

    Attributes:
        data: The picture's file, since a file may carry more than its pixels.
        rgb: The same, decoded: uint8, shape (height, width, 3).
        instruction: What to change.
        seed: 0 to 2**64 - 1.
        index: Place in its request, for errors.
    """

    data: bytes
    rgb: Rgb
    instruction: str
    seed: int
    index: int = 0


class Editor(Protocol):
    """Edits pictures. Only the model thread calls `edit`."""

    @property
    def info(self) -> EditorInfo:
        """Its description; never changes."""
        ...

    def key(self, size: tuple[int, int]) -> Hashable:
        """Return what edits must have in common to be made in one batch.

        Args:
            size: Width and height of the picture.
        """
        ...

    def edit(self, edits: Sequence[Edit], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Make one batch of edits; each gives the same result whatever else is in its batch, but for rounding.

        Args:
            edits: All with the same key.
            abandoned: Whether nobody waits for any of them any more; asked between steps.

        Returns:
            A picture for each edit, with a sentence for each thing that could not be done; or the error of an edit
            that failed alone.

        Raises:
            CancelledError: The batch was abandoned.
        """
        ...
