"""How units respond to what is found on a picture.

A concept shows, at each place, the score of the surest detection that is there. A unit that is off is exactly 0
everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from maia.services.subject.backends.photograph_neurons.detecting import MAP_SIDE, Detection, Map
from maia.services.subject.backends.photograph_neurons.table import Mode, Rule


def shown(detections: Sequence[Detection]) -> Map:
    """Return how strongly a concept shows at each place: its maximum is the highest score, 0 where nothing is."""
    found = np.zeros((MAP_SIDE, MAP_SIDE), np.float32)
    for one in detections:
        np.maximum(found, np.float32(one.score) * one.outline, out=found)
    return found


def respond(rule: Rule, concepts: Mapping[str, Map]) -> Map:
    """Return a unit's map.

    Where several concepts are needed together, each shows at most as strongly as the weakest of them does at its best:
    half a combination is no strong evidence.

    Args:
        rule: Of the unit.
        concepts: How strongly each of the picture shows, from `shown`.
    """
    maps = [concepts[concept] for concept in rule.concepts]
    strongest: Map = np.max(maps, axis=0)
    if rule.mode is not Mode.AND:
        return strongest
    weakest: np.float32 = min(one.max() for one in maps)
    return np.minimum(strongest, weakest)
