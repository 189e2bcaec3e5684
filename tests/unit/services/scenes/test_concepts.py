import itertools

import numpy as np
import pytest

from maia.services.scenes.concepts import Concept
from maia.services.scenes.render import render
from maia.services.scenes.scene import THING_COLOURS, Colour, Scene, Shape, Texture, Thing
from maia.services.scenes.segment import segment

ATTRIBUTES = itertools.product([None, *THING_COLOURS], [None, *Texture], [None, *Shape])
CONCEPTS = [Concept(*attributes) for attributes in ATTRIBUTES if attributes != (None, None, None)]


def test_every_concept_is_read_back_from_its_own_text() -> None:
    for concept in CONCEPTS:
        assert Concept.parse(str(concept)) == concept


def test_an_unknown_concept_says_how_to_write_one() -> None:
    with pytest.raises(ValueError, match=r"'a dog' is not a concept; write \[colour\]"):
        Concept.parse("a dog")
    with pytest.raises(ValueError, match="'two circles' is not a concept"):
        Concept.parse("two circles")
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
