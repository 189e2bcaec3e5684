"""What a generator is, whatever draws: no gRPC here, and no diffusers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.wire.errors import MaiaError


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """What callers may know of a generator.

    Attributes:
        name: For example "scenes".
        revision: Changes whenever the same prompt and seed may give another picture.
        prompt_guide: How to write prompts for it, in plain text; enters an agent's system prompt.
        width: Of its pictures in pixels.
        height: Of its pictures in pixels.
        takes_empty: Whether it draws something definite without a prompt.
    """

    name: str
    revision: str
    prompt_guide: str
    width: int
    height: int
    takes_empty: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """One picture to draw; `seed` is 0 to 2**64 - 1, `index` its place in its request, for errors."""

    prompt: str
    seed: int
    index: int = 0


class Generator(Protocol):
    """Draws pictures. Only the model thread calls `draw`."""

    @property
    def info(self) -> GeneratorInfo:
        """Its description; never changes."""
        ...

    def key(self, wish: Wish) -> Hashable:
        """Return what wishes must have in common to be drawn in one batch."""
        ...

    def draw(self, wishes: Sequence[Wish], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Draw one batch; a wish gives the same picture whatever else is in its batch, but for rounding.

        Args:
            wishes: All with the same key.
            abandoned: Whether nobody waits for any of them any more; asked between steps.

        Returns:
            A picture for each wish, with a sentence for each thing that could not be drawn; or the error of a wish
            that failed alone.

        Raises:
            CancelledError: The batch was abandoned.
        """
        ...
