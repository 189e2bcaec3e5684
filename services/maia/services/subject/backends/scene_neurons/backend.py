"""Synthetic units over pictures.

A picture is segmented once. Each thing found has a strength, from its visible area and the segmenter's confidence, and
a soft outline on a grid of MAP_SIDE². A unit's map is the strongest thing that satisfies it at each place, its
activation the map's maximum, 0 to 10. Where nothing satisfies it, it is exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maia.services import scenes
from maia.services._runtime.revision import revision_of
from maia.services.scenes.concepts import Concept
from maia.services.scenes.segment import Region, segment
from maia.services.subject.backends.scene_neurons.table import Rule, rules
from maia.services.subject.model import Answers, Input, Layer, SubjectInfo
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

NAME: Final = "scene-neurons"
MAP_SIDE: Final = 28
MAX_ACTIVATION: Final = 10.0

_TYPICAL_AREA: Final = 0.05  # share of the picture at which a thing has 63 % of full strength: a medium one
_MIN_SIDE: Final = 16  # of a picture that can be segmented
_EDGE: Final = 0.3  # coverage of a grid cell, relative to the fullest, that is still outside

_Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A thing on a picture: what it is, how strongly it counts, and where, float32 (MAP_SIDE, MAP_SIDE), at most 1."""

    region: Region
    strength: float
    outline: _Map


class SceneNeurons:
    """The subject `scene-neurons`; a `maia.services.subject.model.Subject`."""

    def __init__(self, info: SubjectInfo) -> None:
        self._info = info

    @classmethod
    def load(cls) -> Self:
        """Return the subject; nothing is loaded but the table of its units."""
        layers = tuple(Layer(name, len(units), MAP_SIDE, MAP_SIDE) for name, units in rules().items())
        folders = (Path(__file__).parent, Path(scenes.__file__).parent)
        return cls(
            SubjectInfo(
                name=NAME,
                title="Synthetic neurons of the scene world: one concept, either of two, or both of two.",
                layers=layers,
                input_size=224,
                revision=revision_of(folders),
            )
        )

    @property
    def info(self) -> SubjectInfo:
        """Its description."""
        return self._info

    @property
    def nbytes(self) -> int:
        """It has no weights."""
        return 0

    def prepare(self, rgb: Rgb) -> _Input:
        """Segment the picture; a map always covers the whole of it."""
        return _Input(Frame.whole(rgb.shape[1], rgb.shape[0]), _look(rgb))

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> Mapping[str, Answers]:
        """Say how the units of each layer respond to what was found."""
        seen = tuple(cast("_Input", one).seen for one in inputs)
        return {layer: _Answers(rules()[layer], seen) for layer in layers}


@dataclass(frozen=True, slots=True)
class _Input:
    frame: Frame
    seen: Sequence[_Seen]


@dataclass(frozen=True, slots=True)
class _Answers:
    """How each of a layer's units responds to each picture: as a rule, and what it is applied to."""

    rules: Sequence[Rule]
    seen: Sequence[Sequence[_Seen]]

    @property
    def nbytes(self) -> int:
        return sum(thing.outline.nbytes + thing.region.mask.nbytes for things in self.seen for thing in things)

    def maps(self, row: int, units: Sequence[int]) -> NDArray[np.float32]:
        found = np.zeros((len(units), MAP_SIDE, MAP_SIDE), np.float32)
        for place, unit in enumerate(units):
            response = _respond(self.rules[unit], self.seen[row])
            if response is not None:
                found[place] = response
        return found


def _look(rgb: Rgb) -> list[_Seen]:
    height, width = rgb.shape[:2]
    if min(height, width) < _MIN_SIDE:
        larger = (max(width, _MIN_SIDE), max(height, _MIN_SIDE))
        rgb = np.asarray(Image.fromarray(rgb).resize(larger, Image.Resampling.BICUBIC))
    seen = []
    for region in segment(rgb).regions:
        area = float(region.mask.mean())
        if area > 0:
            strength = MAX_ACTIVATION * region.confidence * (1 - math.exp(-area / _TYPICAL_AREA))
            seen.append(_Seen(region, strength, _outline(region)))
    return seen


def _outline(region: Region) -> _Map:
    """Return how much of each grid cell a thing covers, relative to the fullest cell, falling to 0 at its edge."""
    mask = Image.fromarray(region.mask.view(np.uint8) * np.uint8(255))
    coverage = np.asarray(mask.resize((MAP_SIDE, MAP_SIDE), Image.Resampling.BOX), np.float32)
    inside: _Map = (coverage / max(float(coverage.max()), 1.0) - _EDGE) / (1 - _EDGE)
    return np.clip(inside, 0.0, 1.0)


def _respond(rule: Rule, seen: Sequence[_Seen]) -> _Map | None:
    """Return a unit's map over a picture, or None if it is off."""
    by_concept = [_satisfying(concept, seen) for concept in rule.concepts]
    if not (all(by_concept) if rule.kind == "and" else any(by_concept)):
        return None
    limit = math.inf
    if rule.kind == "and":
        # Both sides show the strength of the weaker one: half a combination is no strong evidence.
        limit = min(max(thing.strength for thing in things) for things in by_concept)
    found: _Map = np.max(
        [min(thing.strength, limit) * thing.outline for things in by_concept for thing in things], axis=0
    )
    return found


def _satisfying(concept: Concept, seen: Sequence[_Seen]) -> list[_Seen]:
    return [thing for thing in seen if concept.satisfied_by(thing.region)]
