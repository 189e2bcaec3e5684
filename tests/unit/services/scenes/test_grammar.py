import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.services.scenes.grammar import parse
from maia.services.scenes.guide import EXAMPLE_PROMPTS, prompt_guide
from maia.services.scenes.scene import THING_COLOURS, Colour, Relation, Shape, Size, Texture
from maia.services.scenes.specification import (
    MAX_DRAWN,
    Place,
    Specification,
    Wanted,
    WantedBackground,
    WantedRelation,
)
from maia.services.scenes.words import SYNONYMS, Kind, scan

CIRCLE, SQUARE, STAR, RING = Shape.CIRCLE, Shape.SQUARE, Shape.STAR, Shape.RING
RED, BLUE, GREEN = Colour.RED, Colour.BLUE, Colour.GREEN
STRIPED, DOTTED, CHECKERED, SOLID = Texture.STRIPED, Texture.DOTTED, Texture.CHECKERED, Texture.SOLID


def understood(prompt: str) -> Specification:
    parsed = parse(prompt)
    assert parsed.warnings == ()
    return parsed.specification


def test_the_example_of_the_documentation() -> None:
    assert understood(
        "a photo of two red striped circles above a blue square on a checkered background"
    ) == Specification(
        (Wanted(CIRCLE, RED, STRIPED, count=2), Wanted(SQUARE, BLUE)),
        (WantedRelation(0, Relation.ABOVE, 1),),
        WantedBackground(None, CHECKERED),
    )


@pytest.mark.parametrize(
    ("prompt", "groups"),
    [
        ("red", [Wanted(colour=RED)]),
        ("things that are red", [Wanted(colour=RED, count=None)]),
        ("circles", [Wanted(CIRCLE, count=None)]),
        ("circular shapes that are red", [Wanted(CIRCLE, RED, count=None)]),
        ("two crimson polka-dot discs", [Wanted(CIRCLE, RED, DOTTED, count=2)]),
        ("a circle with red stripes", [Wanted(CIRCLE, RED, STRIPED)]),
        ("a blue circle with white dots", [Wanted(CIRCLE, BLUE, DOTTED)]),
        ("a circle that is red and striped and a square", [Wanted(CIRCLE, RED, STRIPED), Wanted(SQUARE)]),
        ("red and blue circles", [Wanted(CIRCLE, RED), Wanted(CIRCLE, BLUE)]),
        ("five red and blue circles", [Wanted(CIRCLE, RED, count=3), Wanted(CIRCLE, BLUE, count=2)]),
        ("a large, red circle", [Wanted(CIRCLE, RED, size=Size.LARGE)]),
        ("a red circle and a blue one", [Wanted(CIRCLE, RED), Wanted(CIRCLE, BLUE)]),
        ("3 tiny star-shaped objects", [Wanted(STAR, size=Size.SMALL, count=3)]),
        ("three red dots", [Wanted(CIRCLE, RED, count=3)]),
        ("a solid crescent moon", [Wanted(Shape.CRESCENT, texture=SOLID)]),
        ("a circle, a square, and a star", [Wanted(CIRCLE), Wanted(SQUARE), Wanted(STAR)]),
        ("a pair of boxes", [Wanted(SQUARE, count=2)]),
        ("a circle on the left and a square in the top right corner", [
            Wanted(CIRCLE, place=Place.LEFT), Wanted(SQUARE, place=Place.TOP_RIGHT)]),
        ("on the left a circle, on the right a square", [
            Wanted(CIRCLE, place=Place.LEFT), Wanted(SQUARE, place=Place.RIGHT)]),
        ("a red circle in the centre of the image", [Wanted(CIRCLE, RED, place=Place.CENTRE)]),
    ],
)  # fmt: skip
def test_things(prompt: str, groups: list[Wanted]) -> None:
    assert understood(prompt) == Specification(tuple(groups))


@pytest.mark.parametrize(
    ("prompt", "relation"),
    [
        ("a circle to the left of a star", (0, Relation.LEFT_OF, 1)),
        ("a circle on the right side of a star", (0, Relation.RIGHT_OF, 1)),
        ("a circle beneath the star", (0, Relation.BELOW, 1)),
        ("a circle on top of a star", (0, Relation.ABOVE, 1)),
        ("a circle beside a star", (0, Relation.NEXT_TO, 1)),
        ("a circle inside a star", (0, Relation.INSIDE, 1)),
        ("a circle in a star", (0, Relation.INSIDE, 1)),
        ("a circle containing a star", (1, Relation.INSIDE, 0)),
        ("a circle with a star inside", (1, Relation.INSIDE, 0)),
    ],
)
def test_relations(prompt: str, relation: tuple[int, Relation, int]) -> None:
    assert understood(prompt) == Specification((Wanted(CIRCLE), Wanted(STAR)), (WantedRelation(*relation),))


def test_a_second_relation_keeps_the_subject_of_the_first() -> None:
    found = understood("a square above a circle and left of a star").relations
    assert found == (WantedRelation(0, Relation.ABOVE, 1), WantedRelation(0, Relation.LEFT_OF, 2))


@pytest.mark.parametrize(
    ("prompt", "background"),
    [
        ("a plain grey background", (Colour.GREY, SOLID)),
        ("blue striped backdrop", (BLUE, STRIPED)),
        ("the background is green and checkered", (GREEN, CHECKERED)),
        ("a background of blue stripes", (BLUE, STRIPED)),
        ("a white background with dots", (Colour.WHITE, DOTTED)),
    ],
)
def test_backgrounds(prompt: str, background: tuple[Colour, Texture]) -> None:
    assert understood(prompt) == Specification(background=WantedBackground(*background))
    with_thing = understood(f"a red star on {prompt}" if "is" not in prompt.split() else f"{prompt}. a red star")
    assert with_thing == Specification((Wanted(STAR, RED),), (), WantedBackground(*background))


@pytest.mark.parametrize(
    ("prompt", "groups", "ignored"),
    [
        ("a dog in the forest", (), "dog, forest"),
        ("a red dog and a blue star", (Wanted(STAR, BLUE),), "red dog"),
        ("a shiny red circle", (Wanted(CIRCLE, RED),), "shiny"),
        ("a square without stripes", (Wanted(SQUARE),), "without stripes"),
        ("a circle above", (Wanted(CIRCLE),), "above"),
        ("a red circle in blue", (Wanted(CIRCLE, RED),), "blue on red"),
    ],
)
def test_what_cannot_be_drawn_is_named(prompt: str, groups: tuple[Wanted, ...], ignored: str) -> None:
    parsed = parse(prompt)
    assert parsed.specification.groups == groups
    assert parsed.warnings[0] == f"cannot draw: {ignored}"


@pytest.mark.parametrize(
    ("prompt", "warning"),
    [
        ("", "nothing that can be drawn was understood; drew a plain background"),
        ("a white circle", "only a background can be white; drew another colour"),
        ("a red and blue circle", "one thing has one colour; drew it red"),
        ("a red and blue background", "a background has one colour; drew it red"),
        ("40 circles", f"drew only {MAX_DRAWN} things"),
    ],
)
def test_what_is_changed_is_said(prompt: str, warning: str) -> None:
    assert parse(prompt).warnings == (warning,)


def test_every_word_means_what_it_stands_for_in_singular_and_plural() -> None:
    for meaning, words in SYNONYMS.items():
        for word in (meaning.value, *words.split()):
            (token,) = scan(word)
            assert token.value is meaning
            if token.kind is Kind.SHAPE:
                plural = word + ("es" if word.endswith(("s", "x")) else "s")
                assert parse(f"two {plural}").specification.groups == (Wanted(meaning, count=2),)  # type: ignore[arg-type]  # a Shape, by its kind


def test_the_guide_lists_the_vocabulary_by_line_and_its_examples_are_understood() -> None:
    lines = dict(line.split(": ") for line in prompt_guide().splitlines() if line.count(": ") == 1)
    assert lines["Shapes"].split(", ") == list(Shape)
    assert lines["Colours"].split(", ") == list(THING_COLOURS)
    assert lines["Textures"].split(", ") == list(Texture)
    for prompt in EXAMPLE_PROMPTS:
        assert f"- {prompt}" in prompt_guide()
        assert understood(prompt).groups


VOCABULARY = """
    a the red blue circle stars dots stripes with that is are in on above inside left of and or , . ( no two 7 one to é
    containing background plain large next top corner dog striped circular shapes polka-dot 99999999999 '
"""
WORDS = st.sampled_from(VOCABULARY.split())


@settings(deadline=None)
@given(st.lists(WORDS, max_size=40).map(" ".join) | st.text(max_size=200))
def test_no_text_is_refused_and_no_more_is_drawn_than_fits(text: str) -> None:
    specification = parse(text).specification
    assert sum(group.count or 2 for group in specification.groups) <= MAX_DRAWN
    for relation in specification.relations:
        assert relation.subject != relation.object
        assert max(relation.subject, relation.object) < len(specification.groups)


@pytest.mark.parametrize("word", ["circle ", "red ", "and ", "in ", "of ", "left ", "dog ", "no ", "a ", "é", "-", "'"])
def test_a_long_text_is_read_to_its_end_with_a_short_answer(word: str) -> None:
    parsed = parse(word * (100_000 // len(word)) + " and a blue star")
    assert len(parsed.specification.groups) <= MAX_DRAWN
    assert sum(map(len, parsed.warnings)) < 4_000


@pytest.mark.parametrize(
    ("prompt", "groups"),
    [
        ("a red square and a circle, the circle is striped", [Wanted(SQUARE, RED), Wanted(CIRCLE, texture=STRIPED)]),
        ("a red circle. The circle is on the left.", [Wanted(CIRCLE, RED, place=Place.LEFT)]),
        ("the red circle and the blue circle", [Wanted(CIRCLE, RED), Wanted(CIRCLE, BLUE)]),
        ("a circle and a star, both striped", [Wanted(CIRCLE, texture=STRIPED), Wanted(STAR, texture=STRIPED)]),
        ("both a circle and a star", [Wanted(CIRCLE), Wanted(STAR)]),
        ("three circles, all red", [Wanted(CIRCLE, RED, count=3)]),
        ("a star (red, small) in the centre", [Wanted(STAR, RED, size=Size.SMALL, place=Place.CENTRE)]),
        ("a red circle, centered", [Wanted(CIRCLE, RED, place=Place.CENTRE)]),
        ("circle, red, striped", [Wanted(CIRCLE, RED, STRIPED)]),
        ("a red circle without any texture", [Wanted(CIRCLE, RED, SOLID)]),
        ("black stripes on a red square", [Wanted(SQUARE, RED, STRIPED)]),
        ("a star-shaped red object", [Wanted(STAR, RED)]),
        ("three shapes: a circle, a square, a star", [Wanted(CIRCLE), Wanted(SQUARE), Wanted(STAR)]),
    ],
)
def test_nothing_is_added_by_another_way_of_saying_it(prompt: str, groups: list[Wanted]) -> None:
    assert understood(prompt) == Specification(tuple(groups))


@pytest.mark.parametrize(
    ("prompt", "things", "background"),
    [
        ("a red circle on white", 1, WantedBackground(Colour.WHITE)),
        ("a plain grey image", 0, WantedBackground(Colour.GREY, SOLID)),
        ("a blank white canvas", 0, WantedBackground(Colour.WHITE, SOLID)),
        ("background: striped green. a star", 1, WantedBackground(GREEN, STRIPED)),
        ("stripes on a green background", 0, WantedBackground(GREEN, STRIPED)),
    ],
)
def test_the_whole_picture_is_its_background(prompt: str, things: int, background: WantedBackground) -> None:
    specification = understood(prompt)
    assert (len(specification.groups), specification.background) == (things, background)


@pytest.mark.parametrize(
    ("prompt", "ignored"),
    [
        ("two stars, one red and one blue", "one red, one blue"),
        ("two stars, one of them striped", "striped of them"),
        ("a small picture of a star", "small"),
        ("stars scattered around the picture", "scattered, around"),
        ("a star above three shapes: a circle", None),
    ],
)
def test_what_is_meant_of_some_is_drawn_of_none(prompt: str, ignored: str | None) -> None:
    parsed = parse(prompt)
    assert parsed.warnings == (() if ignored is None else (f"cannot draw: {ignored}",))
    assert parsed.specification.groups[0].shape is STAR
    assert len(parsed.specification.groups) == (1 if ignored else 3)


def test_something_around_something_contains_it() -> None:
    assert understood("a ring around a star").relations == (WantedRelation(1, Relation.INSIDE, 0),)
    assert understood("a star with a ring around it").relations == (WantedRelation(0, Relation.INSIDE, 1),)
