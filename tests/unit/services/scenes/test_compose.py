import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.services.scenes.compose import compose, disc_of
from maia.services.scenes.grammar import parse
from maia.services.scenes.render import render
from maia.services.scenes.scene import Colour, Relation, Scene, Shape, Size, Texture, Thing
from maia.services.scenes.specification import Place, Specification, Wanted, WantedBackground, WantedRelation


def composed(prompt: str, seed: int) -> Scene:
    parsed = parse(prompt)
    scene, warnings = compose(parsed.specification, seed)
    assert parsed.warnings == warnings == ()
    return scene


def overlaps(scene: Scene) -> int:
    discs = [disc_of(thing) for thing in scene.things]
    pairs = [(one, two) for index, one in enumerate(discs) for two in discs[:index]]
    return sum(math.hypot(one.x - two.x, one.y - two.y) < one.reach + two.reach for one, two in pairs)


def test_everything_said_is_drawn_and_nothing_overlaps_or_leaves_the_picture() -> None:
    for seed in range(40):
        scene = composed("two large striped red circles and a small blue star on a dotted green background", seed)
        assert (scene.background.colour, scene.background.texture) == (Colour.GREEN, Texture.DOTTED)
        described = sorted((thing.shape, thing.colour, thing.texture, thing.size) for thing in scene.things[:2])
        assert described == [(Shape.CIRCLE, Colour.RED, Texture.STRIPED, Size.LARGE)] * 2
        star = scene.things[2]
        assert (star.shape, star.colour, star.size) == (Shape.STAR, Colour.BLUE, Size.SMALL)
        assert overlaps(scene) == 0
        for disc in map(disc_of, scene.things):
            assert disc.reach < min(disc.x, disc.y, 1 - disc.x, 1 - disc.y)


def test_what_was_not_said_varies_over_all_values_and_is_never_hidden() -> None:
    things = [composed("three things on a red background", seed).things for seed in range(150)]
    seen = [thing for three in things for thing in three]
    assert {thing.shape for thing in seen} == set(Shape)
    assert {thing.texture for thing in seen} == set(Texture)
    assert {thing.size for thing in seen} == set(Size)
    assert {thing.colour for thing in seen} == set(Colour) - {Colour.RED, Colour.WHITE, Colour.GREY}
    assert {len(composed("stars", seed).things) for seed in range(60)} == {2, 3, 4}


def test_an_unnamed_background_is_plain_and_neutral_in_many_shades() -> None:
    backgrounds = {composed("a star", seed).background for seed in range(30)}
    assert {background.texture for background in backgrounds} == {Texture.SOLID}
    assert {background.colour for background in backgrounds} == {Colour.GREY, Colour.WHITE}
    assert len({background.shade for background in backgrounds}) > 25


def test_the_seed_alone_decides() -> None:
    specification = parse("a solid red circle on a plain grey background").specification
    pictures = {render(compose(specification, seed)[0]).tobytes() for seed in range(30)}
    assert len(pictures) == 30
    assert compose(specification, 5) == compose(specification, 5)
    assert compose(specification, -1)[0] != compose(specification, 2**64)[0]


def left_of(one: Thing, two: Thing) -> bool:
    return one.x + one.radius < two.x - two.radius


def above(one: Thing, two: Thing) -> bool:
    return one.y + one.radius < two.y - two.radius


def inside(one: Thing, two: Thing) -> bool:
    return math.hypot(one.x - two.x, one.y - two.y) + one.radius < two.radius


def next_to(one: Thing, two: Thing) -> bool:
    return math.hypot(one.x - two.x, one.y - two.y) < disc_of(one).reach + disc_of(two).reach + 0.33


@pytest.mark.parametrize("seed", range(15))
def test_relations_hold(seed: int) -> None:
    holds = {
        Relation.LEFT_OF: left_of,
        Relation.RIGHT_OF: lambda one, two: left_of(two, one),
        Relation.ABOVE: above,
        Relation.BELOW: lambda one, two: above(two, one),
        Relation.INSIDE: inside,
        Relation.NEXT_TO: next_to,
    }
    for relation, hold in holds.items():
        scene = composed(f"two stars {relation} a hexagon", seed)
        (hexagon,) = [thing for thing in scene.things if thing.shape is Shape.HEXAGON]
        stars = [thing for thing in scene.things if thing.shape is Shape.STAR]
        assert len(stars) == 2
        assert all(hold(star, hexagon) for star in stars)


@pytest.mark.parametrize("shape", Shape)
def test_every_shape_can_hold_another_of_every_shape(shape: Shape) -> None:
    for inner in Shape:
        specification = Specification((Wanted(inner), Wanted(shape)), (WantedRelation(0, Relation.INSIDE, 1),))
        scene, warnings = compose(specification, 9)
        outer, held = scene.things
        assert (outer.shape, held.shape, warnings) == (shape, inner, ())
        assert disc_of(held).reach < 0.75 * disc_of(outer).reach
        assert outer.colour is not held.colour


@pytest.mark.parametrize("place", Place)
def test_places_hold(place: Place) -> None:
    for seed in range(8):
        scene, warnings = compose(Specification((Wanted(place=place), Wanted(count=2))), seed)
        assert warnings == ()
        assert place.holds(scene.things[0].x, scene.things[0].y)


def test_twelve_large_things_are_drawn_smaller_with_a_warning() -> None:
    scene, warnings = compose(Specification((Wanted(size=Size.LARGE, count=12),)), 1)
    assert len(scene.things) == 12
    assert overlaps(scene) == 0
    assert warnings == ("could not place everything as asked; moved or shrank some of it",)


def test_relations_in_a_circle_are_given_up_with_a_warning() -> None:
    impossible = (WantedRelation(0, Relation.ABOVE, 1), WantedRelation(1, Relation.ABOVE, 0))
    scene, warnings = compose(Specification((Wanted(), Wanted()), impossible), 1)
    assert (len(scene.things), len(warnings)) == (2, 1)
    nested = (WantedRelation(0, Relation.INSIDE, 1), WantedRelation(1, Relation.INSIDE, 0))
    scene, warnings = compose(Specification((Wanted(Shape.STAR), Wanted(Shape.RING)), nested), 1)
    assert warnings == ("could not place a ring inside a star",)


WANTED = st.builds(
    Wanted,
    shape=st.none() | st.sampled_from(Shape),
    size=st.none() | st.sampled_from(Size),
    place=st.none() | st.sampled_from(Place),
    count=st.none() | st.integers(1, 3),
)


@settings(deadline=None)
@given(
    st.lists(WANTED, max_size=4),
    st.lists(st.builds(WantedRelation, st.integers(0, 3), st.sampled_from(Relation), st.integers(0, 3)), max_size=4),
    st.integers(),
)
def test_whatever_is_asked_is_drawn_somehow(groups: list[Wanted], relations: list[WantedRelation], seed: int) -> None:
    count = len(groups)
    valid = [link for link in relations if link.subject != link.object and max(link.subject, link.object) < count]
    specification = Specification(tuple(groups), tuple(valid), WantedBackground())
    scene, _ = compose(specification, seed)
    assert len(scene.things) >= sum(group.count or 2 for group in groups)
    assert compose(specification, seed)[0] == scene
