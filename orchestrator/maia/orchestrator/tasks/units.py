"""Which units a task is for, and how its text names one."""

from __future__ import annotations

from collections.abc import Iterable

from maia.orchestrator.clients import Layer, LayerKind, SubjectInfo
from maia.orchestrator.tasks.task import Task
from maia.wire.errors import InvalidRequestError


def refuse_units(task: Task, subject: SubjectInfo, layers: Iterable[str]) -> None:
    """Refuse units that a task cannot be about. A server that does not tell the kinds of its layers is believed.

    Args:
        task: What is asked.
        subject: Whose units.
        layers: Theirs.

    Raises:
        InvalidRequestError: UNIT_NOT_A_CLASS; the message names the layers whose units are classes.
    """
    if task.units != "class":
        return
    wanted = set(layers)
    for layer in subject.layers:
        if layer.name in wanted and layer.kind not in (LayerKind.CLASS, LayerKind.UNKNOWN):
            classes = ", ".join(one.name for one in subject.layers if one.kind is LayerKind.CLASS)
            instead = f"choose units of {classes}" if classes else f"{subject.name} has no layer of such"
            raise InvalidRequestError(
                f"the task {task.name} asks about outputs of a classifier, and the units of {subject.name} {layer.name}"
                f" are of the kind {layer.kind.value}; {instead}",
                reason="UNIT_NOT_A_CLASS",
            )


def unit_in_words(subject: SubjectInfo, layer: str, index: int) -> str:
    """Return a unit as a task's text names it, an output of a classifier with its class."""
    found = next((one for one in subject.layers if one.name == layer), None)
    if found is not None and _is_class(found, subject, index):
        return f"output {index} of a classifier: the score of the class {subject.classes[index]!r}"
    return f"unit {index} of the layer {layer}"


def _is_class(layer: Layer, subject: SubjectInfo, index: int) -> bool:
    return layer.kind is LayerKind.CLASS and index < len(subject.classes)
