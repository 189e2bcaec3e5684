"""What each synthetic unit responds to.

The labels are in the canonical form of `maia.services.scenes.concepts`: "red circle", "circle or star", "blue and red".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal

from maia.services.scenes.concepts import Concept

Kind = Literal["mono", "or", "and"]


@dataclass(frozen=True, slots=True)
class Rule:
    """When a unit is on.

    Attributes:
        label: The truth, in canonical form.
        kind: "mono": the one concept; "or": any of them; "and": all of them, on things of the same picture.
        concepts: One, or two that no single thing can satisfy together.
    """

    label: str
    kind: Kind
    concepts: tuple[Concept, ...]


@cache
def rules() -> Mapping[str, tuple[Rule, ...]]:
    """Return the units of each layer: "mono", "or" and "and"."""
    text = resources.files(__package__).joinpath("units.json").read_text(encoding="utf-8")
    layers: dict[Kind, list[str]] = json.loads(text)["layers"]
    return MappingProxyType({kind: tuple(_rule(kind, label) for label in labels) for kind, labels in layers.items()})


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


def _rule(kind: Kind, label: str) -> Rule:
    parts = [label] if kind == "mono" else label.split(f" {kind} ")
    return Rule(label, kind, tuple(Concept.parse(part) for part in parts))
