"""Synthetic units answer as their table says, from pixels alone."""

from __future__ import annotations

import re
from collections import Counter
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from maia.services.scenes.compose import compose
from maia.services.scenes.grammar import parse
from maia.services.scenes.labels import canonical_label
from maia.services.scenes.render import render
from maia.services.scenes.scene import Colour, Relation, Shape, Texture
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.backends.scene_neurons.seeing import MAP_SIDE
from maia.services.subject.backends.scene_neurons.table import ControlKind, rules, truth, truths
from maia.services.subject.measuring import measure
from maia.services.subject.model import Unit
from maia.wire.errors import NotFoundError, OutOfRangeError
from maia.wire.maps import Frame, masked_pixels
from maia.wire.pictures import Rgb


@pytest.fixture(scope="module")
def subject() -> SceneNeurons:
    return SceneNeurons.load()


def picture(prompt: str, seed: int = 1, side: int = 224) -> Rgb:
    scene, _ = compose(parse(prompt).specification, seed)
    return np.asarray(render(scene, (side, side)))


def unit(layer: str, label: str) -> Unit:
    return Unit(layer, truths()[layer].index(label))


def activation(subject: SceneNeurons, one: Unit, prompt: str, seed: int = 1) -> float:
    return float(measure(subject, [picture(prompt, seed)], [one]).activations[0, 0])


def test_there_are_enough_units_of_every_kind() -> None:
    counts = Counter[str](rule.kind for units in rules().values() for rule in units)
    least = {"mono": 40, "or": 18, "or3": 6, "and": 20, "andnot": 10, "count": 6, "relation": 6}
    assert all(counts[kind] >= number for kind, number in least.items()), counts
    assert counts["dead"] + counts["constant"] + counts["noise"] >= 6
    assert min(counts["dead"], counts["constant"], counts["noise"]) >= 2


def test_a_layer_is_of_the_kind_that_it_names_and_controls_hide_among_concepts() -> None:
    for layer, units in rules().items():
        kinds = {rule.kind for rule in units}
        if layer == "mixed":
            assert {"dead", "constant", "noise"} < kinds
            assert 2 * sum(rule.control is not None for rule in units) <= len(units)
        else:
            assert kinds == {layer}


def test_the_table_is_canonical() -> None:
    for layer, units in rules().items():
        labels = [rule.label for rule in units if rule.control is None]
        assert len(set(labels)) == len(labels)
        assert [canonical_label(label) for label in labels] == labels
        assert [truth(layer, index) for index in range(len(units))] == [rule.label for rule in units]
        assert {canonical_label(rule.label) for rule in units if rule.control is not None} <= {"none"}


def test_units_stay_where_they_were() -> None:
    # Results and exemplars name units by these numbers.
    known = {"mono": (23, 46), "or": (3, 19), "and": (1, 19)}
    assert {layer: tuple(truth(layer, index) for index in indices) for layer, indices in known.items()} == {
        "mono": ("red circle", "pink diamond"),
        "or": ("diamond or triangle", "purple diamond or yellow crescent"),
        "and": ("star and triangle", "checkered and dotted"),
    }
    assert list(rules())[:3] == ["mono", "or", "and"]
    assert [len(rules()[layer]) for layer in ("mono", "or", "and")] == [47, 20, 20]


def test_no_single_thing_turns_a_combination_on() -> None:
    for rule in rules()["and"]:
        first, second = rule.meaning.concepts
        pairs = [(first.colour, second.colour), (first.texture, second.texture), (first.shape, second.shape)]
        assert any(one and other and one is not other for one, other in pairs), rule.label


@pytest.mark.parametrize(
    ("layer", "label", "on", "off"),
    [
        ("mono", "red", "a red circle and a blue star", "a blue circle and a pink star"),
        ("mono", "circle", "a red circle and a blue star", "a red square and a blue star"),
        ("mono", "striped", "a striped square", "a dotted square on a striped background"),
        ("mono", "red circle", "a red circle", "a red square and a blue circle"),
        ("or", "circle or star", "a star", "a heart"),
        ("or", "circle or star", "a circle and a star", "a cross"),
        ("and", "circle and square", "a circle and a square", "two circles"),
        ("and", "green and red", "a red star and a green heart", "two red stars"),
        ("andnot", "circle and not star", "a circle and a heart", "a circle and a star"),
        ("andnot", "circle and not star", "a circle", "a heart"),
        ("andnot", "heart and not red", "a blue heart", "a red heart"),
        ("andnot", "heart and not red", "a blue heart and a green star", "a blue heart and a red star"),
        ("or3", "circle or heart or star", "a heart", "a square and a cross"),
        ("count", "at least two circles", "two circles", "a circle and a square"),
        ("count", "at least two circles", "three circles", "two squares"),
        ("count", "at least three dotted things", "three dotted squares", "two dotted squares and a solid star"),
        ("relation", "circle left of square", "a circle left of a square", "a circle right of a square"),
        ("relation", "circle left of square", "a circle left of a square", "a circle above a square"),
        ("relation", "cross above diamond", "a cross above a diamond", "a cross below a diamond"),
        ("relation", "red left of blue", "a red star left of a blue star", "a blue star left of a red star"),
        ("relation", "star inside circle", "a solid star inside a solid circle", "a solid circle inside a solid star"),
        ("relation", "star inside circle", "a solid star inside a solid circle", "a star left of a circle"),
    ],
)
def test_a_unit_is_on_for_its_concept_alone(subject: SceneNeurons, layer: str, label: str, on: str, off: str) -> None:
    for seed in range(4):
        assert 1 < activation(subject, unit(layer, label), on, seed) <= 10
        assert activation(subject, unit(layer, label), off, seed) == 0


def test_a_larger_thing_drives_a_unit_more(subject: SceneNeurons) -> None:
    red = unit("mono", "red")
    small, medium, large = (activation(subject, red, f"a {size} red circle") for size in ("small", "medium", "large"))
    assert 0 < small < medium < large <= 10


def test_a_map_marks_the_thing_and_its_maximum_is_the_activation(subject: SceneNeurons) -> None:
    rgb = picture("a large red circle on the left and a large blue circle on the right", seed=3)
    measured = measure(subject, [rgb], [unit("mono", "red")])
    answer = measured.maps[0][0]
    assert answer.shape == (MAP_SIDE, MAP_SIDE)
    assert float(answer.max()) == pytest.approx(float(measured.activations[0, 0]), rel=1e-3)
    assert measured.frames == (Frame(0, 0, 224, 224),)
    mask = masked_pixels((224, 224), answer, measured.frames[0], 0.0)
    assert mask[:, :100].any()
    assert not mask[:, 130:].any()


def test_the_map_of_a_combination_marks_both(subject: SceneNeurons) -> None:
    rgb = picture("a large circle on the left and a large square on the right")
    mask = masked_pixels(
        (224, 224), measure(subject, [rgb], [unit("and", "circle and square")]).maps[0][0], Frame(0, 0, 224, 224), 0.0
    )
    assert mask[:, :90].any()
    assert mask[:, 134:].any()


def inside(subject: SceneNeurons, one: Unit, prompt: str) -> NDArray[np.bool_]:
    rgb = picture(prompt)
    return masked_pixels((224, 224), measure(subject, [rgb], [one]).maps[0][0], Frame(0, 0, 224, 224), 0.0)


def test_what_spoils_a_unit_is_not_marked(subject: SceneNeurons) -> None:
    mask = inside(subject, unit("andnot", "circle and not star"), "a circle on the left and a heart on the right")
    assert mask[:, :90].any()
    assert not mask[:, 134:].any()


def test_what_is_counted_is_marked(subject: SceneNeurons) -> None:
    count = unit("count", "at least two circles")
    mask = inside(subject, count, "a circle on the left, a circle on the right and a star in the centre")
    assert mask[:, :80].any()
    assert mask[:, 144:].any()
    assert not mask[100:124, 100:124].any()


def test_what_is_related_is_marked(subject: SceneNeurons) -> None:
    left_of = unit("relation", "circle left of square")
    prompt = "a circle on the centre left, a square in the centre and a star on the centre right"
    mask = inside(subject, left_of, prompt)
    assert mask[:, :75].any()
    assert mask[104:120, 104:120].any()
    assert not mask[:, 160:].any()


def test_measuring_is_deterministic_and_each_picture_stands_alone(subject: SceneNeurons) -> None:
    units = [Unit(layer.name, index) for layer in subject.info.layers for index in range(layer.units)]
    pictures = [picture(prompt) for prompt in ("a red star", "two green circles and a square", "a plain background")]
    together = measure(subject, pictures, units)
    for row, rgb in enumerate(pictures):
        alone = measure(subject, [rgb], units)
        assert np.array_equal(alone.activations[0], together.activations[row])
        assert all(np.array_equal(one[0], both[row]) for one, both in zip(alone.maps, together.maps, strict=True))
    concepts = [rules()[one.layer][one.index].control is None for one in units]
    assert not together.activations[2][concepts].any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (17, 16), (900, 40)])
def test_a_picture_of_any_size_is_measured(subject: SceneNeurons, shape: tuple[int, int]) -> None:
    rgb = np.full((*shape, 3), 200, np.uint8)
    assert measure(subject, [rgb], [unit("mono", "red")]).frames == (Frame(0, 0, shape[1], shape[0]),)


def test_units_that_do_not_exist_are_refused(subject: SceneNeurons) -> None:
    with pytest.raises(NotFoundError) as missing:
        subject.info.check(Unit("layer9", 0))
    assert missing.value.metadata["valid"] == "mono, or, and, andnot, or3, count, relation, mixed"
    with pytest.raises(OutOfRangeError) as outside:
        subject.info.check(Unit("or", 20))
    assert outside.value.metadata["units"] == "20"


def test_the_truth_of_no_unit_outside_the_table_is_given() -> None:
    with pytest.raises(IndexError):
        truth("mono", -1)
    with pytest.raises(KeyError):
        truth("layer9", 0)


def test_nothing_that_a_caller_sees_names_a_truth(subject: SceneNeurons) -> None:
    words = {
        *(value for values in (Colour, Shape, Texture, Relation) for value in values),
        *get_args(ControlKind),
        *("control", "none", "nothing"),
    }
    assert not [word for word in words if re.search(rf"\b{word}s?\b", repr(subject.info))]
