"""What the network is trained to recognise: five heads, each a list of concepts, and which of them a scene shows."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from maia.services.scenes.scene import THING_COLOURS, Colour, Scene, Shape, Texture, Thing

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    "shape": tuple(Shape),
    "colour": tuple(THING_COLOURS),
    "texture": tuple(Texture),
    "colour and shape": tuple(f"{colour} {shape}" for colour, shape in product(THING_COLOURS, Shape)),
    "background": tuple(f"{look} background" for look in (*Colour, *Texture)),
}
"""Concepts by head. "red" means that a red thing is there, "red circle" that one thing is both."""

CONCEPTS: Final = tuple(concept for head in HEADS.values() for concept in head)
"""All concepts, in the order of the logits."""

_INDEX: Final = {concept: index for index, concept in enumerate(CONCEPTS)}


def columns(head: str) -> slice:
    """Return where the concepts of a head lie among `CONCEPTS`."""
    start = _INDEX[HEADS[head][0]]
    return slice(start, start + len(HEADS[head]))


def shown(scene: Scene) -> npt.NDArray[np.bool_]:
    """Return which of `CONCEPTS` a scene shows: bool, (concepts,)."""
    present = np.zeros(len(CONCEPTS), dtype=np.bool_)
    background = scene.background
    names = {f"{background.colour} background", f"{background.texture} background"}
    for thing in scene.things:
        names |= {thing.shape, thing.colour, thing.texture, f"{thing.colour} {thing.shape}"}
    present[[_INDEX[name] for name in names]] = True
    return present


def kind(thing: Thing) -> tuple[int, int, int]:
    """Return which shape, colour and texture a thing has, as positions in their heads."""
    return tuple(Shape).index(thing.shape), THING_COLOURS.index(thing.colour), tuple(Texture).index(thing.texture)
