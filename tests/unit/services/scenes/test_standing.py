"""Relations are judged by the regions that the segmenter finds."""

from __future__ import annotations

import numpy as np
import pytest

from maia.services.scenes.compose import compose
from maia.services.scenes.grammar import parse
from maia.services.scenes.render import render
from maia.services.scenes.scene import Colour, Relation, Scene, Shape, Texture, Thing
from maia.services.scenes.segment import Region, segment
from maia.services.scenes.standing import stands

JUDGED = [relation for relation in Relation if relation is not Relation.NEXT_TO]
OPPOSITE = {Relation.LEFT_OF: Relation.RIGHT_OF, Relation.ABOVE: Relation.BELOW}


def pair(*centres: tuple[float, float], size: tuple[int, int] = (224, 224)) -> tuple[Region, Region]:
    """A red and a blue square with these centres."""
    colours = (Colour.RED, Colour.BLUE)
    things = tuple(
        Thing(Shape.SQUARE, colour, Texture.SOLID, x, y, 0.1) for colour, (x, y) in zip(colours, centres, strict=True)
    )
    regions = segment(np.asarray(render(Scene(things=things), size))).regions
    one, other = (next(region for region in regions if region.colour is colour) for colour in colours)
    return one, other


def holding(one: Region, other: Region) -> set[Relation]:
    return {relation for relation in JUDGED if stands(one, relation, other)}


@pytest.mark.parametrize(
    ("one", "other", "relation"),
    [
        ((0.3, 0.5), (0.7, 0.5), Relation.LEFT_OF),
        ((0.2, 0.4), (0.8, 0.8), Relation.LEFT_OF),
        ((0.7, 0.4), (0.3, 0.5), Relation.RIGHT_OF),
        ((0.5, 0.2), (0.6, 0.7), Relation.ABOVE),
        ((0.2, 0.2), (0.5, 0.8), Relation.ABOVE),
        ((0.5, 0.8), (0.5, 0.3), Relation.BELOW),
    ],
)
def test_one_direction_holds_and_its_opposite_from_the_other_side(
    one: tuple[float, float], other: tuple[float, float], relation: Relation
) -> None:
    first, second = pair(one, other)
    assert holding(first, second) == {relation}
    both_ways = OPPOSITE | {opposite: direct for direct, opposite in OPPOSITE.items()}
    assert holding(second, first) == {both_ways[relation]}


def test_directions_are_of_the_picture_as_it_is_seen() -> None:
    # In shares of the sides the squares are further apart downwards; in pixels, across.
    first, second = pair((0.3, 0.25), (0.7, 0.75), size=(448, 224))
    assert holding(first, second) == {Relation.LEFT_OF}


@pytest.mark.parametrize("container", ["ring", "circle", "square", "heart"])
@pytest.mark.parametrize("seed", range(4))
def test_inside_is_on_a_thing_or_in_its_hole(container: str, seed: int) -> None:
    scene, _ = compose(parse(f"a solid red star inside a solid blue {container}").specification, seed)
    regions = segment(np.asarray(render(scene))).regions
    star = next(region for region in regions if region.colour is Colour.RED)
    around = next(region for region in regions if region.colour is Colour.BLUE)
    assert holding(star, around) == {Relation.INSIDE}
    assert holding(around, star) == set()


def test_a_thing_in_the_corner_of_a_box_is_not_inside() -> None:
    crescent = Thing(Shape.CRESCENT, Colour.BLUE, Texture.SOLID, 0.5, 0.5, 0.3)
    bare = segment(np.asarray(render(Scene(things=(crescent,))))).regions[0]
    left, top, right, bottom = bare.box
    free = ~bare.mask[top:bottom, left:right]
    assert free[2:12, 2:12].all()
    dot = Thing(Shape.SQUARE, Colour.RED, Texture.SOLID, (left + 10) / 224, (top + 10) / 224, 0.03)
    regions = segment(np.asarray(render(Scene(things=(crescent, dot))))).regions
    inner = next(region for region in regions if region.colour is Colour.RED)
    outer = next(region for region in regions if region.colour is Colour.BLUE)
    assert not stands(inner, Relation.INSIDE, outer)


def test_nothing_is_inside_itself() -> None:
    one, _ = pair((0.3, 0.5), (0.7, 0.5))
    assert not stands(one, Relation.INSIDE, one)


def test_next_to_is_refused() -> None:
    one, other = pair((0.3, 0.5), (0.7, 0.5))
    with pytest.raises(ValueError, match="'next to' cannot be judged"):
        stands(one, Relation.NEXT_TO, other)
