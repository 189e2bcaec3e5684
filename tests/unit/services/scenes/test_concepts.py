import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.services.scenes.concepts import Concept, canonical_label
from maia.services.scenes.render import render
from maia.services.scenes.scene import THING_COLOURS, Colour, Scene, Shape, Texture, Thing
from maia.services.scenes.segment import segment

ATTRIBUTES = itertools.product([None, *THING_COLOURS], [None, *Texture], [None, *Shape])
CONCEPTS = [Concept(*attributes) for attributes in ATTRIBUTES if attributes != (None, None, None)]


def test_every_concept_is_read_back_from_its_own_text() -> None:
    for concept in CONCEPTS:
        assert Concept.parse(str(concept)) == concept
        assert canonical_label(str(concept)) == str(concept)


@settings(deadline=None)
@given(st.sets(st.sampled_from(CONCEPTS), min_size=2, max_size=3), st.sampled_from(["or", "and"]))
def test_joined_labels_are_sorted_and_stay_as_they_are(concepts: set[Concept], word: str) -> None:
    texts = [str(concept) for concept in concepts]
    label = canonical_label(f" {word} ".join(texts))
    assert label == f" {word} ".join(sorted(texts))
    assert canonical_label(label) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Red circles.", "red circle"),
        ("circular shapes that are red", "red circle"),
        ("This neuron detects red circles", "red circle"),
        ("stars or circles", "circle or star"),
        ("either a star / a circle", "circle or star"),
        ("both red things and squares", "red and square"),
        ("shapes that are red and striped", "red striped"),
        ("objects with stripes", "striped"),
        ("polka dots", "dotted"),
        ("the color red", "red"),
        ("images of crimson objects", "red"),
        ("checkered patterns", "checkered"),
        ("red or red", "red"),
    ],
)
def test_natural_phrasing(text: str, label: str) -> None:
    assert canonical_label(text) == label


@pytest.mark.parametrize(
    "text",
    ["", "dogs", "red dogs", "large red circle", "blue background", "circle or star and red", "circle or dog",
     "a circle on the left", "things", "circle " * 500],
)  # fmt: skip
def test_everything_else_is_no_label(text: str) -> None:
    assert canonical_label(text) is None


@settings(deadline=None)
@given(st.text(max_size=600))
def test_no_text_is_refused(text: str) -> None:
    label = canonical_label(text)
    assert label is None or canonical_label(label) == label


def test_an_unknown_concept_says_how_to_write_one() -> None:
    with pytest.raises(ValueError, match=r"'a dog' is not a concept; write \[colour\]"):
        Concept.parse("a dog")
    with pytest.raises(ValueError, match="give at least one"):
        Concept()


def test_the_mask_covers_the_things_that_satisfy_the_concept_and_no_others() -> None:
    star = Thing(Shape.STAR, Colour.RED, Texture.SOLID, 0.25, 0.5, 0.18)
    ring = Thing(Shape.RING, Colour.RED, Texture.STRIPED, 0.75, 0.5, 0.18)
    found = segment(np.asarray(render(Scene(things=(star, ring)))))
    left = np.arange(224)[None, :] < 112
    red, only_star, striped, none = (
        Concept.parse(text).mask(found) for text in ("red", "red star", "striped", "blue star")
    )
    assert red.dtype == np.bool_
    assert red.shape == (224, 224)
    assert (red == (only_star | striped)).all()
    assert only_star[:, :112].any()
    assert not (only_star & ~left).any()
    assert not (striped & left).any()
    assert not none.any()
