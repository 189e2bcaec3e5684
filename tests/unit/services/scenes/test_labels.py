"""Labels have one canonical form, and what people write is brought to it or refused."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.services.scenes.concepts import Concept
from maia.services.scenes.labels import NONE, Label, canonical_label
from maia.services.scenes.scene import THING_COLOURS, Relation, Shape, Texture
from maia.services.scenes.specification import MAX_DRAWN

ATTRIBUTES = itertools.product([None, *THING_COLOURS], [None, *Texture], [None, *Shape])
CONCEPTS = [Concept(*attributes) for attributes in ATTRIBUTES if attributes != (None, None, None)]
CONCEPT = st.sampled_from(CONCEPTS)
PAIR = st.lists(CONCEPT, min_size=2, max_size=2, unique=True)
RELATIONS = st.sampled_from([Relation.LEFT_OF, Relation.ABOVE, Relation.INSIDE])


def test_every_concept_is_a_label() -> None:
    for concept in CONCEPTS:
        assert canonical_label(str(concept)) == str(concept)
        assert Label.parse(str(concept)) == Label("mono", (concept,))


@settings(deadline=None)
@given(st.sets(CONCEPT, min_size=2, max_size=3), st.sampled_from(["or", "and"]))
def test_joined_labels_are_sorted_and_stay_as_they_are(concepts: set[Concept], word: str) -> None:
    texts = [str(concept) for concept in concepts]
    label = canonical_label(f" {word} ".join(texts))
    assert label == f" {word} ".join(sorted(texts))
    assert canonical_label(label) == label


@settings(deadline=None)
@given(PAIR)
def test_what_must_not_be_there_stays_behind(pair: list[Concept]) -> None:
    label = Label("andnot", tuple(pair))
    assert str(label) == f"{pair[0]} and not {pair[1]}"
    assert Label.parse(str(label)) == label


@settings(deadline=None)
@given(CONCEPT, st.integers(2, MAX_DRAWN))
def test_counts_are_read_back(concept: Concept, least: int) -> None:
    label = Label("count", (concept,), least)
    assert Label.parse(str(label)) == label
    assert Label.parse(str(label).replace("at least ", "")) == label


@settings(deadline=None)
@given(PAIR, RELATIONS)
def test_relations_are_read_back(pair: list[Concept], relation: Relation) -> None:
    label = Label("relation", tuple(pair), relation=relation)
    assert str(label) == f"{pair[0]} {relation} {pair[1]}"
    assert Label.parse(str(label)) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Red circles.", "red circle"),
        ("circular shapes that are red", "red circle"),
        ("This neuron detects red circles", "red circle"),
        ("stars or circles", "circle or star"),
        ("either a star / a circle", "circle or star"),
        ("a star, or a circle or a heart", "circle or heart or star"),
        ("circles, hearts, or stars", "circle or heart or star"),
        ("striped, red circles or stars", "red striped circle or star"),
        ("stars or circles or hearts", "circle or heart or star"),
        ("both red things and squares", "red and square"),
        ("shapes that are red and striped", "red striped"),
        ("objects with stripes", "striped"),
        ("polka dots", "dotted"),
        ("the color red", "red"),
        ("images of crimson objects", "red"),
        ("checkered patterns", "checkered"),
        ("red or red", "red"),
        ("a circle with no pattern", "solid circle"),
        ("circles but not stars", "circle and not star"),
        ("circles without stars", "circle and not star"),
        ("circles, unless there is a star", "circle and not star"),
        ("a red circle and no blue thing", "red circle and not blue"),
        ("two circles", "at least two circles"),
        ("2 or more red things", "at least two red things"),
        ("3+ stars", "at least three stars"),
        ("more than one cross", "at least two crosses"),
        ("a pair of hearts", "at least two hearts"),
        ("multiple striped shapes", "at least two striped things"),
        ("at least one circle", "circle"),
        ("a square to the right of a circle", "circle left of square"),
        ("a yellow thing below a green one", "green above yellow"),
        ("a ring around a star", "star inside ring"),
        ("None.", NONE),
        ("dead neuron", NONE),
        ("responds to nothing", NONE),
        ("no clear concept", NONE),
        ("random noise", NONE),
        ("none (constant 6.5)", NONE),
    ],
)
def test_natural_phrasing(text: str, label: str) -> None:
    assert canonical_label(text) == label


@pytest.mark.parametrize(
    "text",
    ["", "dogs", "red dogs", "large red circle", "blue background", "circle or star and red", "circle or dog",
     "a circle on the left", "things", "circle " * 500, "circles that are not red", "circles without stripes",
     "not a circle", "circle and not star and not ring", "circle and not circle", "exactly two circles",
     "at least two circles or stars", "two circles and a square", "at least 13 circles", "no fewer than 0 circles",
     "circle next to square", "two circles left of a square", "circle left of square and star", "circle above"],
)  # fmt: skip
def test_everything_else_is_no_label(text: str) -> None:
    assert canonical_label(text) is None


def test_what_is_no_label_says_how_to_write_one() -> None:
    with pytest.raises(ValueError, match=r"'dogs' is no label; write one as in 'red circle'"):
        Label.parse("dogs")


@settings(deadline=None)
@given(st.text(max_size=600))
def test_no_text_is_refused(text: str) -> None:
    label = canonical_label(text)
    assert label is None or canonical_label(label) == label
