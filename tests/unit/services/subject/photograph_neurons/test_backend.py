"""The subject, with planted detections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.services.subject.photograph_neurons.planted import Planted, PlantedDetector, picture

from maia.services.subject.backends.networks.options import NetworkOptions, Precision
from maia.services.subject.backends.photograph_neurons.backend import PhotographNeurons, load_detector
from maia.services.subject.backends.photograph_neurons.options import PhotographOptions
from maia.services.subject.backends.photograph_neurons.table import Mode, Rule
from maia.services.subject.measuring import measure
from maia.services.subject.model import Selective, Unit, parts_of
from maia.wire.errors import InvalidRequestError, PreconditionError
from maia.wire.maps import Frame

RULES = {
    Mode.MONO: (Rule(Mode.MONO, ("dog",)), Rule(Mode.MONO, ("tree",)), Rule(Mode.MONO, ("cat",))),
    Mode.OR: (Rule(Mode.OR, ("dog", "cat")),),
    Mode.AND: (Rule(Mode.AND, ("dog", "cat")),),
}
DOG, TREE, CAT = (Unit("mono", index) for index in range(3))
EITHER, BOTH = Unit("or", 0), Unit("and", 0)

A_DOG, A_CAT = Planted("dog", 0.8, 5, 5), Planted("cat", 0.5, 30, 30)
PICTURES = [
    picture(A_DOG),
    picture(A_CAT, scale=3),
    picture(A_DOG, A_CAT, Planted("dog", 0.6, 20, 40), scale=2),
    picture(),
    np.zeros((1, 500, 3), np.uint8),
]


def subject(detector: PlantedDetector | None = None) -> PhotographNeurons:
    return PhotographNeurons(RULES, detector or PlantedDetector())


def test_each_unit_answers_by_its_mode_and_nothing_leaks_between_pictures() -> None:
    found = measure(subject(), PICTURES, [DOG, TREE, CAT, EITHER, BOTH]).activations
    expected = [[0.8, 0, 0, 0.8, 0], [0, 0, 0.5, 0.5, 0], [0.8, 0, 0.5, 0.8, 0.5], [0] * 5, [0] * 5]
    assert np.array_equal(found, np.array(expected, np.float32))


def test_a_picture_has_the_same_answer_alone_among_others_and_in_any_order() -> None:
    units = [BOTH, DOG, EITHER]
    together = measure(subject(), PICTURES[::-1], units)
    for place, rgb in enumerate(PICTURES[::-1]):
        alone = measure(subject(), [rgb], units)
        assert np.array_equal(alone.activations[0], together.activations[place])
        for of_unit, of_batch in zip(alone.maps, together.maps, strict=True):
            assert np.array_equal(of_unit[0], of_batch[place])


def test_a_map_lies_over_the_whole_picture() -> None:
    found = measure(subject(), [PICTURES[1]], [CAT])
    assert found.frames == (Frame.whole(168, 168),)
    rows, columns = np.nonzero(found.maps[0][0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (30, 33, 30, 33)


def test_each_distinct_concept_is_looked_for_once_on_a_picture_and_no_other_is() -> None:
    detector = PlantedDetector()
    measure(subject(detector), PICTURES[:2], [BOTH, EITHER, CAT, BOTH])
    assert detector.asked == [("dog", "cat")] * 2


def test_a_whole_layer_answers_as_its_units_do() -> None:
    one = subject()
    inputs = [one.prepare(rgb) for rgb in PICTURES]
    whole = one.look(inputs, ["mono"])["mono"]
    parts = one.look(inputs, [one.part(unit) for unit in (CAT, DOG)])
    for row in range(len(inputs)):
        alone = [parts[one.part(unit)].maps(row, [unit.index])[0] for unit in (DOG, CAT)]
        assert np.array_equal(whole.maps(row, [0, 2]), np.stack(alone))
        assert whole.maps(row, [0, 2]).dtype == np.float32
    assert whole.nbytes == 3 * parts[one.part(CAT)].nbytes


def test_units_are_asked_for_one_by_one() -> None:
    one = subject()
    assert isinstance(one, Selective)
    assert len(set(parts_of(one, [DOG, CAT, EITHER, DOG]).values())) == 3


def test_its_description_says_nothing_of_what_units_respond_to() -> None:
    info = subject().info
    assert [(layer.name, layer.units, layer.map_height) for layer in info.layers] == [
        ("mono", 3, 56),
        ("or", 1, 56),
        ("and", 1, 56),
    ]
    assert not [word for word in ("dog", "cat", "tree") if word in repr(info)]
    assert subject().nbytes == 7


def test_the_revision_is_of_labels_and_detector() -> None:
    other = PhotographNeurons({**RULES, Mode.OR: (Rule(Mode.OR, ("dog", "tree")),)}, PlantedDetector())
    newer = PlantedDetector()
    newer.revision = "2"
    assert len({subject().info.revision, other.info.revision, subject(newer).info.revision}) == 3
    assert subject().info.revision == subject().info.revision


def test_a_concept_that_the_detector_cannot_read_is_named_by_its_unit_alone() -> None:
    with pytest.raises(PreconditionError, match="or 0 cannot be looked for: it has one letter") as caught:
        PhotographNeurons({Mode.OR: (Rule(Mode.OR, ("secret", "x")),)}, PlantedDetector())
    assert caught.value.reason == "LABELS_INVALID"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("options", [{"precision": Precision.BFLOAT16}, {"precision": Precision.FLOAT16}])
def test_another_precision_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="--precision") as caught:
        load_detector(PhotographOptions(), NetworkOptions(**options))
    assert caught.value.reason == "SETTING_INVALID"


def test_labels_are_read_before_a_model_is_loaded(tmp_path: Path) -> None:
    options = PhotographOptions(labels=tmp_path, detector="nobody/nothing")
    with pytest.raises(PreconditionError) as caught:
        PhotographNeurons.load(options, NetworkOptions(offline=True))
    assert caught.value.reason == "LABELS_MISSING"
