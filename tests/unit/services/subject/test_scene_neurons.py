"""Synthetic units answer as their table says, from pixels alone."""

from __future__ import annotations

import numpy as np
import pytest

from maia.services.scenes.compose import compose
from maia.services.scenes.concepts import canonical_label
from maia.services.scenes.grammar import parse
from maia.services.scenes.render import render
from maia.services.subject.backends.scene_neurons.backend import MAP_SIDE, SceneNeurons
from maia.services.subject.backends.scene_neurons.table import rules, truth, truths
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


def test_the_table_is_large_and_canonical() -> None:
    counts = {layer: len(labels) for layer, labels in truths().items()}
    assert counts["mono"] >= 40
    assert counts["or"] >= 20
    assert counts["and"] >= 20
    for layer, labels in truths().items():
        assert len(set(labels)) == len(labels)
        assert [canonical_label(label) for label in labels] == labels
        assert [truth(layer, index) for index in range(len(labels))] == labels


def test_no_single_thing_turns_a_combination_on() -> None:
    for rule in rules()["and"]:
        first, second = rule.concepts
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


def test_measuring_is_deterministic_and_each_picture_stands_alone(subject: SceneNeurons) -> None:
    units = [Unit(layer.name, index) for layer in subject.info.layers for index in range(layer.units)]
    pictures = [picture(prompt) for prompt in ("a red star", "two green circles and a square", "a plain background")]
    together = measure(subject, pictures, units)
    for row, rgb in enumerate(pictures):
        alone = measure(subject, [rgb], units)
        assert np.array_equal(alone.activations[0], together.activations[row])
        assert all(np.array_equal(one[0], both[row]) for one, both in zip(alone.maps, together.maps, strict=True))
    assert not together.activations[2].any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (17, 16), (900, 40)])
def test_a_picture_of_any_size_is_measured(subject: SceneNeurons, shape: tuple[int, int]) -> None:
    rgb = np.full((*shape, 3), 200, np.uint8)
    assert measure(subject, [rgb], [unit("mono", "red")]).frames == (Frame(0, 0, shape[1], shape[0]),)


def test_units_that_do_not_exist_are_refused(subject: SceneNeurons) -> None:
    with pytest.raises(NotFoundError) as missing:
        subject.info.check(Unit("layer9", 0))
    assert missing.value.metadata["valid"] == "mono, or, and"
    with pytest.raises(OutOfRangeError) as outside:
        subject.info.check(Unit("or", 20))
    assert outside.value.metadata["units"] == "20"


def test_the_truth_of_no_unit_outside_the_table_is_given() -> None:
    with pytest.raises(IndexError):
        truth("mono", -1)
    with pytest.raises(KeyError):
        truth("layer9", 0)


def test_nothing_that_a_caller_sees_names_a_truth(subject: SceneNeurons) -> None:
    words = {word for labels in truths().values() for label in labels for word in label.split()} - {"or", "and"}
    assert not words & set(repr(subject.info).replace(".", " ").replace("'", " ").split())
