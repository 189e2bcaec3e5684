from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.services.scenes.compose import disc_of
from maia.services.scenes.edit import edit
from maia.services.scenes.guide import EXAMPLE_EDITS, edit_guide
from maia.services.scenes.render import render
from maia.services.scenes.scene import MAX_THINGS, Background, Colour, Scene, Shape, Size, Texture, Thing

CIRCLE = Thing(Shape.CIRCLE, Colour.RED, Texture.SOLID, 0.25, 0.25, 0.18)
SQUARE = Thing(Shape.SQUARE, Colour.BLUE, Texture.STRIPED, 0.75, 0.25, 0.125, 20.0)
TRIANGLE = Thing(Shape.TRIANGLE, Colour.GREEN, Texture.SOLID, 0.7, 0.7, 0.085, 350.0)
SCENE = Scene(Background(Colour.GREY, Texture.SOLID, 0.4, 30.0), (CIRCLE, SQUARE, TRIANGLE))


def edited(instruction: str, scene: Scene = SCENE) -> Scene:
    result, warnings = edit(scene, instruction, 5)
    assert warnings == ()
    return result


def with_things(*things: Thing) -> Scene:
    return replace(SCENE, things=things)


@pytest.mark.parametrize(
    ("instruction", "circle"),
    [
        ("replace the circle with a heart", replace(CIRCLE, shape=Shape.HEART)),
        ("Replace the red circle with a blue dotted hexagon.", replace(
            CIRCLE, shape=Shape.HEXAGON, colour=Colour.BLUE, texture=Texture.DOTTED)),
        ("change the colour of the circle to green", replace(CIRCLE, colour=Colour.GREEN)),
        ("change the circle's color to green", replace(CIRCLE, colour=Colour.GREEN)),
        ("make the red circle pink", replace(CIRCLE, colour=Colour.PINK)),
        ("make the large one pink", replace(CIRCLE, colour=Colour.PINK)),
        ("paint the circle on the left pink", replace(CIRCLE, colour=Colour.PINK)),
        ("turn the circle into a cross", replace(CIRCLE, shape=Shape.CROSS)),
        ("make the circle striped", replace(CIRCLE, texture=Texture.STRIPED)),
        ("add polka dots to the circle", replace(CIRCLE, texture=Texture.DOTTED)),
        ("make the circle smaller", replace(CIRCLE, radius=0.125)),
        ("make the circle small", replace(CIRCLE, radius=0.085)),
    ],
)  # fmt: skip
def test_one_thing_changes_in_what_is_named_and_nothing_else_does(instruction: str, circle: Thing) -> None:
    assert edited(instruction) == with_things(circle, SQUARE, TRIANGLE)


@pytest.mark.parametrize(
    ("instruction", "background"),
    [
        ("make the background striped", (Colour.GREY, Texture.STRIPED)),
        ("change the background to green", (Colour.GREEN, Texture.SOLID)),
        ("change the colour of the background to white", (Colour.WHITE, Texture.SOLID)),
        ("replace the background with a yellow checkered background", (Colour.YELLOW, Texture.CHECKERED)),
        ("add dots to the background", (Colour.GREY, Texture.DOTTED)),
    ],
)
def test_the_background_changes_alone(instruction: str, background: tuple[Colour, Texture]) -> None:
    colour, texture = background
    assert edited(instruction) == replace(SCENE, background=Background(colour, texture, 0.4, 30.0))


def test_patterns_are_changed_and_removed_wherever_they_are() -> None:
    assert edited("turn the stripes into dots") == with_things(
        CIRCLE, replace(SQUARE, texture=Texture.DOTTED), TRIANGLE
    )
    assert edited("remove the stripes") == with_things(CIRCLE, replace(SQUARE, texture=Texture.SOLID), TRIANGLE)
    striped = Scene(Background(Colour.BLUE, Texture.STRIPED), (CIRCLE,))
    assert edited("remove the stripes", striped) == Scene(Background(Colour.BLUE), (CIRCLE,))


def test_removing() -> None:
    assert edited("remove the triangle") == with_things(CIRCLE, SQUARE)
    assert edited("delete the red circle and the triangle") == with_things(SQUARE)
    assert edited("erase everything").things == ()
    assert edited("remove the background").things == SCENE.things


def test_adding_keeps_the_others_and_finds_free_room() -> None:
    scene = edited("add a small yellow ring and a star")
    assert scene.things[:3] == SCENE.things
    ring, star = scene.things[3:]
    assert (ring.shape, ring.colour, ring.size, star.shape) == (Shape.RING, Colour.YELLOW, Size.SMALL, Shape.STAR)
    for one in (ring, star):
        for two in scene.things:
            distance = np.hypot(one.x - two.x, one.y - two.y)
            assert one is two or distance > disc_of(one).reach + disc_of(two).reach


def test_adding_beside_above_and_inside() -> None:
    left = edited("add a heart to the right of the circle").things[3]
    assert left.x > CIRCLE.x + CIRCLE.radius
    below = edited("add a heart below the square").things[3]
    assert below.y > SQUARE.y + SQUARE.radius
    inside = edited("put a black star inside the circle").things[3]
    assert np.hypot(inside.x - CIRCLE.x, inside.y - CIRCLE.y) + disc_of(inside).reach < CIRCLE.radius


def test_commands_are_joined() -> None:
    scene = edited("replace the circle with a heart, make the square and the triangle black and remove the stripes")
    assert scene.things == (
        replace(CIRCLE, shape=Shape.HEART),
        replace(SQUARE, colour=Colour.BLACK, texture=Texture.SOLID),
        replace(TRIANGLE, colour=Colour.BLACK),
    )
    scene = edited("make the circle blue and the square red")
    assert scene == with_things(replace(CIRCLE, colour=Colour.BLUE), replace(SQUARE, colour=Colour.RED), TRIANGLE)


def test_pixels_away_from_the_change_stay_the_same() -> None:
    before = np.asarray(render(SCENE))
    after = np.asarray(render(edited("replace the circle with a green star")))
    changed = (before != after).any(axis=2)
    y, x = (np.indices(changed.shape) + 0.5) / 224
    around = np.hypot(x - CIRCLE.x, y - CIRCLE.y) < 1.3 * CIRCLE.radius
    assert changed[around].mean() > 0.3
    assert not changed[~around].any()


def test_growing_stops_before_a_neighbour() -> None:
    crowded = Scene(things=(replace(CIRCLE, x=0.3, y=0.5, radius=0.13), replace(SQUARE, x=0.6, y=0.5)))
    grown, warnings = edit(crowded, "make the circle larger", 1)
    discs = [disc_of(thing) for thing in grown.things]
    assert discs[1].x - discs[0].x >= discs[0].reach + discs[1].reach
    assert warnings == ("there is little room to make the circle larger",)


@pytest.mark.parametrize(
    ("instruction", "warning"),
    [
        ("", "the instruction is empty; nothing was changed"),
        ("nonsense", "did not understand: nonsense"),
        ("remove the dog", "there is nothing like this on the picture: the dog"),
        ("make the ring blue", "there is nothing like this on the picture: the ring"),
        ("make the circle", "it was not understood what to change it to"),
        ("change the circle to white", "only a background can be white; left the colour as it is"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(instruction: str, warning: str) -> None:
    assert edit(SCENE, instruction, 1) == (SCENE, (warning,))


def test_a_full_picture_takes_nothing_more() -> None:
    full = Scene(things=(replace(CIRCLE, radius=0.02),) * MAX_THINGS)
    scene, warnings = edit(full, "add a star", 1)
    assert (scene, warnings) == (full, ("a picture has at most 16 things; nothing more was added",))


def test_the_seed_alone_decides() -> None:
    scenes = {edit(SCENE, "add a ring", seed)[0] for seed in range(20)}
    assert len(scenes) == 20
    assert edit(SCENE, "add a ring", 3) == edit(SCENE, "add a ring", 3)


def test_the_examples_of_the_guide_work() -> None:
    for instruction in EXAMPLE_EDITS:
        assert f"- {instruction}" in edit_guide()
        assert edited(instruction) != SCENE


WORDS = """
    add remove replace make change turn with into to the a of circle square star red blue white striped dots background
    and , . then larger small one it everything colour 's inside left stripes dog 3 not that is
"""


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), max_size=25).map(" ".join) | st.text(max_size=100), st.integers())
def test_no_instruction_is_refused(instruction: str, seed: int) -> None:
    scene, warnings = edit(SCENE, instruction, seed)
    assert Scene.from_json(scene.to_json()) == scene
    assert all(isinstance(warning, str) for warning in warnings)


@pytest.mark.parametrize("part", ["make ", "add a star and ", "replace ", "the ", "to ", "é"])
def test_a_long_instruction_is_answered_shortly(part: str) -> None:
    _, warnings = edit(SCENE, part * (100_000 // len(part)), 1)
    assert sum(map(len, warnings)) < 4_000


@pytest.mark.parametrize(
    ("instruction", "things"),
    [
        ("remove the stripes from the square", (CIRCLE, replace(SQUARE, texture=Texture.SOLID), TRIANGLE)),
        ("remove the square's texture", (CIRCLE, replace(SQUARE, texture=Texture.SOLID), TRIANGLE)),
        ("remove the texture", (CIRCLE, replace(SQUARE, texture=Texture.SOLID), TRIANGLE)),
        ("remove everything except the circle", (CIRCLE,)),
        ("remove all shapes but the circle and the square", (CIRCLE, SQUARE)),
        ("keep only the square", (SQUARE,)),
        ("keep only the square and remove everything else", (SQUARE,)),
        ("make the circle blue, keep everything else the same", (
            replace(CIRCLE, colour=Colour.BLUE), SQUARE, TRIANGLE)),
        ("make the square red, the circle blue and the triangle pink", (
            replace(CIRCLE, colour=Colour.BLUE), replace(SQUARE, colour=Colour.RED),
            replace(TRIANGLE, colour=Colour.PINK))),
    ],
)  # fmt: skip
def test_what_stays_and_what_goes_are_not_confused(instruction: str, things: tuple[Thing, ...]) -> None:
    assert edited(instruction) == with_things(*things)


@pytest.mark.parametrize(
    ("instruction", "warning"),
    [
        ("remove all the others", "did not understand: remove all the others"),
        ("remove the blue color", "did not understand: remove the blue color"),
        ("keep only the dog", "there is nothing like this on the picture: the dog"),
        ("make the circle the same size as the square", "it was not understood what to change it to"),
        ("change the circle to be inside the square", "it was not understood what to change it to"),
    ],
)
def test_rather_nothing_than_something_else(instruction: str, warning: str) -> None:
    scene, warnings = edit(SCENE, instruction, 5)
    assert scene == SCENE
    assert warning in warnings


def test_a_place_that_cannot_be_had_is_said() -> None:
    scene, warnings = edit(SCENE, "replace stripes with dots on the triangle", 5)
    assert [thing.shape for thing in scene.things] == [Shape.CIRCLE, Shape.SQUARE, Shape.TRIANGLE]
    assert warnings == ("cannot draw: on the triangle",)
    scene, warnings = edit(SCENE, "add a yellow ring around the circle", 5)
    assert [thing.shape for thing in scene.things[3:]] == [Shape.RING]
    assert warnings == ("nothing new can stand around what is there; added it beside",)


def test_a_background_is_set_by_any_verb() -> None:
    for verb in ("set", "make", "add"):
        scene = edited(f"{verb} a dotted blue background")
        assert (scene.background.colour, scene.background.texture) == (Colour.BLUE, Texture.DOTTED)
        assert scene.things == SCENE.things


def test_nothing_is_added_that_is_too_small_to_be_seen() -> None:
    crescent = Thing(Shape.CRESCENT, Colour.BLUE, Texture.SOLID, 0.5, 0.5, 0.125)
    scene = Scene(things=(crescent,))
    assert edit(scene, "add a red star inside the crescent", 5) == (
        scene,
        ("there is no room for a star inside the crescent",),
    )
