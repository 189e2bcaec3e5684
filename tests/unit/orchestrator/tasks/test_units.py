"""Which units a task is for, by what the subject server tells of their layers."""

import pytest

from maia.orchestrator.clients import Layer, LayerKind, SubjectInfo
from maia.orchestrator.tasks import load_task
from maia.orchestrator.tasks.units import refuse_units, unit_in_words
from maia.wire.errors import InvalidRequestError


def subject(kind: LayerKind, *more: Layer) -> SubjectInfo:
    layers = (Layer("layer4", 64, (7, 7)), Layer("last", 3, (1, 1), kind), *more)
    return SubjectInfo("net", "A network.", layers, 224, "1", "float32", ("tench", "goldfish"))


def test_class_bias_is_for_classes_only_and_others_are_for_all() -> None:
    info = subject(LayerKind.CLASS)
    refuse_units(load_task("class_bias"), info, ["last"])
    refuse_units(load_task("neuron_description"), info, ["layer4"])
    with pytest.raises(InvalidRequestError, match="net layer4 are of the kind channel; choose units of last") as caught:
        refuse_units(load_task("class_bias"), info, ["last", "layer4"])
    assert caught.value.reason == "UNIT_NOT_A_CLASS"


def test_without_any_classes_that_is_said_and_without_kinds_the_user_is_believed() -> None:
    with pytest.raises(InvalidRequestError, match="net has no layer of such"):
        refuse_units(load_task("class_bias"), subject(LayerKind.DIRECTION), ["last"])
    refuse_units(load_task("class_bias"), subject(LayerKind.UNKNOWN), ["last"])


def test_an_output_is_named_by_its_class_and_any_other_unit_by_its_place() -> None:
    assert unit_in_words(subject(LayerKind.CLASS), "last", 1).endswith("the class 'goldfish'")
    assert unit_in_words(subject(LayerKind.CLASS), "last", 2) == "unit 2 of the layer last"  # more outputs than names
    assert unit_in_words(subject(LayerKind.CHANNEL), "last", 1) == "unit 1 of the layer last"
    assert unit_in_words(subject(LayerKind.CLASS), "layer4", 1) == "unit 1 of the layer layer4"
