"""Concepts, and which pixels satisfy them.

A concept is a conjunction of at most a colour, a texture and a shape on one thing, written in that order: "red",
"circle", "striped circle", "red solid star". What may be said with concepts about a whole picture is in `labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from maia.services.scenes.grammar import parse
from maia.services.scenes.specification import WantedBackground

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maia.services.scenes.scene import Colour, Shape, Texture
    from maia.services.scenes.segment import Region, Segmentation
    from maia.services.scenes.specification import Wanted


@dataclass(frozen=True, slots=True)
class Concept:
    """What one thing must be; at least one attribute is given.

    Attributes:
        colour: Its paint, or any.
        texture: Its texture, or any.
        shape: Its shape, or any.
    """

    colour: Colour | None = None
    texture: Texture | None = None
    shape: Shape | None = None

    def __post_init__(self) -> None:
        if self.colour is None and self.texture is None and self.shape is None:
            raise ValueError("a concept without colour, texture and shape; give at least one")

    def __str__(self) -> str:
        return " ".join(part.value for part in (self.colour, self.texture, self.shape) if part is not None)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one concept, in canonical form or natural phrasing ("circles that are red").

        Raises:
            ValueError: The text holds anything else than one concept.
        """
        concept = cls._find(text)
        if concept is None:
            raise ValueError(
                f"{text[:80]!r} is not a concept; write [colour] [texture] [shape], as in 'red striped circle'"
            )
        return concept

    @classmethod
    def _find(cls, text: str) -> Self | None:
        parsed = parse(text)
        specification = parsed.specification
        if parsed.warnings or len(specification.groups) != 1 or specification.background != WantedBackground():
            return None
        return cls.of(specification.groups[0])

    @classmethod
    def of(cls, group: Wanted) -> Self | None:
        """Return what things of a group have, or None if that is nothing, or more than a concept can say."""
        said_nothing = group.colour is None and group.texture is None and group.shape is None
        if said_nothing or group.size is not None or group.place is not None or group.count not in {None, 1}:
            return None
        return cls(group.colour, group.texture, group.shape)

    def satisfied_by(self, region: Region) -> bool:
        """Whether a found thing has all the attributes."""
        return (
            self.colour in {None, region.colour}
            and self.texture in {None, region.texture}
            and self.shape in {None, region.shape}
        )

    def mask(self, segmentation: Segmentation) -> NDArray[np.bool_]:
        """Return the pixels of the things that satisfy the concept, bool (H, W)."""
        mask = np.zeros((segmentation.height, segmentation.width), np.bool_)
        for region in segmentation.regions:
            if self.satisfied_by(region):
                mask |= region.mask
        return mask
