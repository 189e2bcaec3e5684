"""Concepts, which pixels satisfy them, and the one canonical form of a label.

A concept is a conjunction of at most a colour, a texture and a shape on one thing, written in that order: "red",
"circle", "striped circle", "red solid star". A label is a concept, or several joined by one kind of word, sorted by
alphabet: "circle or star", "red and square".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from maia.services.scenes.grammar import parse
from maia.services.scenes.specification import Wanted, WantedBackground

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maia.services.scenes.scene import Colour, Shape, Texture
    from maia.services.scenes.segment import Region, Segmentation

MAX_LABEL_CHARS: Final = 500

# What people write around a label; it says nothing about the concept itself.
_PREAMBLE: Final = re.compile(
    r"\b(?:(?:the|this) )?(?:neuron|unit|channel|feature|detector|presence|existence|images?|pictures?|photos?|scenes?|"
    r"detects?|detecting|detected|responds? to|fires? for|activate[sd]? (?:by|for|on)|selective for|shows?|showing|"
    r"containing|contains?|any|either|both|kinds? of|types? of|label|drawn|in color|in colour|of any \w+)\b"
)
_JOINTS: Final = (
    ("or", re.compile(r"\s*(?:\bor\b|/|\|)\s*")),
    ("and", re.compile(r"\s*(?:\band\b|&|\+|\bas well as\b)\s*")),
)
_RELATIVE: Final = re.compile(r"\b(?:that|which) (?:is|are)\b")


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
        group = specification.groups[0]
        said_nothing = group.colour is None and group.texture is None and group.shape is None
        if said_nothing or group.size is not None or group.place is not None:
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


def canonical_label(text: str) -> str | None:
    """Return the one form in which a label is compared, or None if the text is no label that the scene world knows.

    Accepts natural phrasing: "Red circles." and "circular shapes that are red" are "red circle"; "stars or circles" is
    "circle or star". Operands are sorted and repeated ones dropped. A size, a place, a count of words that mean nothing
    here, or "and" mixed with "or" make it None.
    """
    plain = _PREAMBLE.sub(" ", text[: MAX_LABEL_CHARS + 1].lower()).strip(" .!\n\t\"'*`:")
    if len(plain) > MAX_LABEL_CHARS:
        return None
    used = [(word, joint) for word, joint in _JOINTS if joint.search(plain)]
    if len(used) > 1:
        return None
    if not used or (used[0][0] == "and" and _one_thing(plain)):
        concept = _concept(plain)
        return str(concept) if concept else None
    word, joint = used[0]
    concepts = [_concept(operand) for operand in joint.split(plain)]
    if None in concepts:
        return None
    return f" {word} ".join(sorted({str(concept) for concept in concepts}))


def _concept(text: str) -> Concept | None:
    try:
        return Concept.parse(text)
    except ValueError:
        return None


def _one_thing(text: str) -> bool:
    """Whether "and" joins attributes of one thing: "shapes that are red and striped"."""
    match = _RELATIVE.search(text)
    if match is None:
        return False
    behind = parse(text[match.end() :]).specification.groups
    return len(behind) == 1 and behind[0] == Wanted(None, behind[0].colour, behind[0].texture)
