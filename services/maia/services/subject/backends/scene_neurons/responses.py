"""How synthetic units respond to what is seen on a picture.

A unit that is on shows, at each place, the strength of the strongest of the things that turned it on. Where several
things are needed together, each shows the strength of the weakest of them: half a combination is no strong evidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from maia.services.scenes.concepts import Concept
from maia.services.scenes.labels import Form, Label
from maia.services.scenes.standing import stands
from maia.services.subject.backends.scene_neurons.seeing import Map, Seen


def respond(label: Label, seen: Sequence[Seen]) -> Map | None:
    """Return the map of a unit that has a concept, or None if it is off.

    Args:
        label: What it responds to; any but "none".
        seen: The things on the picture.
    """
    shown = list(_SHOWN[label.form](label, seen))
    if not shown:
        return None
    found: Map = np.max([min(thing.strength, limit) * thing.outline for thing, limit in shown], axis=0)
    return found


_Shown = Iterable[tuple[Seen, float]]
"""The things that turn a unit on, and at most how strong each may show; none when it is off."""


def _any(label: Label, seen: Sequence[Seen]) -> _Shown:
    return [(thing, math.inf) for concept in label.concepts for thing in _with(concept, seen)]


def _all(label: Label, seen: Sequence[Seen]) -> _Shown:
    by_concept = [_with(concept, seen) for concept in label.concepts]
    if not all(by_concept):
        return []
    limit = min(max(thing.strength for thing in things) for things in by_concept)
    return [(thing, limit) for things in by_concept for thing in things]


def _and_not(label: Label, seen: Sequence[Seen]) -> _Shown:
    wanted, unwanted = label.concepts
    return [] if _with(unwanted, seen) else [(thing, math.inf) for thing in _with(wanted, seen)]


def _enough(label: Label, seen: Sequence[Seen]) -> _Shown:
    things = sorted(_with(label.concepts[0], seen), key=lambda thing: -thing.strength)
    if len(things) < label.least:
        return []
    return [(thing, things[label.least - 1].strength) for thing in things]


def _related(label: Label, seen: Sequence[Seen]) -> _Shown:
    subject, other = label.concepts
    assert label.relation is not None
    for one in _with(subject, seen):
        for two in _with(other, seen):
            if one is not two and stands(one.region, label.relation, two.region):
                limit = min(one.strength, two.strength)
                yield from ((one, limit), (two, limit))


_SHOWN: Final[Mapping[Form, Callable[[Label, Sequence[Seen]], _Shown]]] = {
    "mono": _any,
    "or": _any,
    "and": _all,
    "andnot": _and_not,
    "count": _enough,
    "relation": _related,
}


def _with(concept: Concept, seen: Sequence[Seen]) -> list[Seen]:
    return [thing for thing in seen if concept.satisfied_by(thing.region)]
