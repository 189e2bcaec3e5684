"""The modes' logic, on planted detections."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.services.subject.photograph_neurons.planted import CONCEPTS, Planted

from maia.services.subject.backends.photograph_neurons.detecting import MAP_SIDE, Detection
from maia.services.subject.backends.photograph_neurons.responses import respond, shown
from maia.services.subject.backends.photograph_neurons.table import Mode, Rule

PLACES = st.integers(0, MAP_SIDE - 8)
DETECTIONS = st.lists(
    st.builds(Planted, st.sampled_from(CONCEPTS), st.floats(0.25, 1, width=32), PLACES, PLACES, st.integers(1, 8)),
    max_size=6,
)
WANTED = st.lists(st.sampled_from(CONCEPTS), min_size=1, max_size=3, unique=True)


def best(planted: list[Planted], concept: str) -> float:
    return max((one.score for one in planted if one.concept == concept), default=0.0)


@given(planted=DETECTIONS, wanted=WANTED)
def test_a_unit_shows_what_its_mode_says(planted: list[Planted], wanted: list[str]) -> None:
    concepts = {
        concept: shown([Detection(one.score, one.outline()) for one in planted if one.concept == concept])
        for concept in CONCEPTS
    }
    scores = [best(planted, concept) for concept in wanted]
    covered = np.any(
        [one.outline() > 0 for one in planted if one.concept in wanted] or [np.zeros((MAP_SIDE,) * 2, bool)], 0
    )

    any_of = respond(Rule(Mode.MONO if len(wanted) == 1 else Mode.OR, tuple(wanted)), concepts)
    assert any_of.dtype == np.float32
    assert any_of.shape == (MAP_SIDE, MAP_SIDE)
    assert any_of.max() == np.float32(max(scores))
    assert np.array_equal(any_of > 0, covered)

    all_of = respond(Rule(Mode.AND, tuple(wanted)), concepts)
    assert all_of.max() == np.float32(min(scores))
    assert np.array_equal(all_of > 0, covered & (min(scores) > 0))
    assert (all_of <= any_of).all()


def test_where_two_of_a_kind_overlap_the_surer_one_counts() -> None:
    weak, strong = Planted("dog", 0.3, 10, 10), Planted("dog", 0.9, 12, 12)
    found = shown([Detection(one.score, one.outline()) for one in (strong, weak)])
    assert found[13, 13] == np.float32(0.9)
    assert found[10, 10] == np.float32(0.3)
    assert found[20, 20] == 0
