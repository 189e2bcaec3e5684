"""What a generator is, whatever draws: no gRPC here, and no diffusers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class GeneratorInfo:
    """What callers may know of a generator.

    Attributes:
        name: For example "scenes".
        revision: Changes whenever the same prompt and seed may give another picture.
        prompt_guide: How to write prompts for it, in plain text; enters an agent's system prompt.
        width: Of its pictures in pixels.
        height: Of its pictures in pixels.
    """

    name: str
    revision: str
    prompt_guide: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Wish:
    """One picture to draw; `seed` is 0 to 2**64 - 1."""

    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture, as the bytes of a PNG, and a sentence for each thing that could not be drawn."""

    png: bytes
    warnings: tuple[str, ...]


class Generator(Protocol):
    """Draws pictures. Only the model thread calls `draw`."""

    @property
    def info(self) -> GeneratorInfo:
        """Its description; never changes."""
        ...

    def draw(self, wishes: Sequence[Wish]) -> list[Drawing]:
        """Draw one batch; a wish gives the same drawing whatever else is in its batch."""
        ...
