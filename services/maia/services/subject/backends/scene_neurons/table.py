"""What each synthetic unit responds to, or that it responds to nothing.

The labels are in the canonical form of `maia.services.scenes.labels`: "red circle", "circle or star", "blue and red".
A control's is "none", and the table says in brackets which kind of nothing it is: "none (dead)", "none (constant 6.5)",
"none (noise 1)".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Final, Literal, get_args

from maia.services.scenes.labels import Label

ControlKind = Literal["dead", "constant", "noise"]
Kind = Literal["mono", "or", "or3", "and", "andnot", "count", "relation", "dead", "constant", "noise"]

_CONTROL: Final = re.compile(rf"none \(({'|'.join(get_args(ControlKind))})(?: (\d+(?:\.\d+)?))?\)")


@dataclass(frozen=True, slots=True)
class Control:
    """How a unit that has no concept behaves.

    Attributes:
        kind: "dead": 0 everywhere; "constant": the same value everywhere; "noise": by chance, but always the same on
            the same pixels.
        parameter: The constant's value; which noise it is, for different ones to differ; otherwise 0.
    """

    kind: ControlKind
    parameter: float = 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """When a unit is on.

    Attributes:
        label: The truth. In canonical form but for what a control has in brackets.
        meaning: The same, read. No single thing can satisfy both concepts of an "and".
        control: What the unit does instead if it has no concept.
    """

    label: str
    meaning: Label
    control: Control | None = None

    @property
    def kind(self) -> Kind:
        """What sort of truth it is: the control's, or the label's form, "or3" with three concepts."""
        if self.control is not None:
            return self.control.kind
        form = self.meaning.form
        if form == "none":
            raise ValueError(f"{self.label!r} does not say which kind of nothing; write it as in 'none (dead)'")
        return "or3" if form == "or" and len(self.meaning.concepts) > 2 else form


@cache
def rules() -> Mapping[str, tuple[Rule, ...]]:
    """Return the units of each layer.

    All units of a layer are of the kind that its name says, but in "mixed", whose name must not tell an agent which of
    them are controls.
    """
    text = resources.files(__package__).joinpath("units.json").read_text(encoding="utf-8")
    layers: dict[str, list[str]] = json.loads(text)["layers"]
    return MappingProxyType({name: tuple(_rule(label) for label in labels) for name, labels in layers.items()})


def truth(layer: str, index: int) -> str:
    """Return what a unit responds to, for the report and for scoring after a run; never for an agent.

    Raises:
        KeyError: No such layer.
        IndexError: No such unit.
    """
    if index < 0:
        raise IndexError(index)
    return rules()[layer][index].label


def truths() -> dict[str, list[str]]:
    """Return the labels of all units by layer, as plain values that can be written to a file."""
    return {layer: [rule.label for rule in units] for layer, units in rules().items()}


def _rule(label: str) -> Rule:
    control = _CONTROL.fullmatch(label)
    if control is None:
        return Rule(label, Label.parse(label))
    return Rule(label, Label("none"), Control(_control_kind(control[1]), float(control[2] or 0)))


def _control_kind(word: str) -> ControlKind:
    return next(kind for kind in get_args(ControlKind) if kind == word)
