"""The fixed scene set: what exemplars are searched in, and what a small network can be trained on.

Every index has one scene, always the same. Over each hundred indices every pair of colour and shape occurs as the main
thing, and over each four hundred with every texture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from maia.services.scenes.compose import compose, pick
from maia.services.scenes.scene import THING_COLOURS, Colour, Relation, Scene, Shape, Texture
from maia.services.scenes.specification import Specification, Wanted, WantedBackground, WantedRelation

_SALT: Final = 0x5CE9E5
_PAIRS: Final = len(THING_COLOURS) * len(Shape)
_ROOMY: Final = (Shape.CIRCLE, Shape.SQUARE, Shape.TRIANGLE, Shape.RING, Shape.HEART, Shape.HEXAGON)
_RELATIONS: Final = tuple(Relation)


def fixed_scene(index: int) -> Scene:
    """Return scene `index` of the fixed set.

    Args:
        index: 0 or more; there is no end.

    Returns:
        A scene of one to four things with random attributes; half of the backgrounds are neutral, and half of
        all are textured; of the scenes with several things, half have a relation.

    Raises:
        ValueError: The index is negative.
    """
    if index < 0:
        raise ValueError(f"index {index}; the fixed scenes are numbered from 0")
    rng = np.random.Generator(np.random.PCG64([_SALT, index]))
    main = _main_thing(index)
    others = [_any_thing(rng) for _ in range(int(rng.integers(0, 4)))]
    relations = []
    if others and rng.random() < 0.5:
        relation = pick(rng, _RELATIONS)
        relations.append(WantedRelation(0, relation, 1))
        if relation is Relation.INSIDE:
            others[0] = replace(others[0], shape=pick(rng, _ROOMY))
    background = WantedBackground(
        pick(rng, tuple(Colour)) if rng.random() < 0.5 else None,
        pick(rng, tuple(Texture)[1:]) if rng.random() < 0.5 else Texture.SOLID,
    )
    specification = Specification((main, *others), tuple(relations), background)
    scene, _ = compose(specification, int(rng.integers(2**63)))
    return scene


def _main_thing(index: int) -> Wanted:
    pair = index % _PAIRS
    texture = tuple(Texture)[(index // _PAIRS + pair) % len(Texture)]
    return Wanted(tuple(Shape)[pair // len(THING_COLOURS)], THING_COLOURS[pair % len(THING_COLOURS)], texture)


def _any_thing(rng: np.random.Generator) -> Wanted:
    return Wanted(pick(rng, tuple(Shape)), pick(rng, THING_COLOURS), pick(rng, tuple(Texture)))
