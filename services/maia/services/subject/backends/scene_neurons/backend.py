"""Synthetic units over pictures.

A picture is segmented once. Each thing found has a strength, from its visible area and the segmenter's confidence, and
a soft outline on a grid of MAP_SIDE². A unit's map is the strongest thing that satisfies it at each place, its
activation the map's maximum, 0 to 10. Where nothing satisfies it, it is exactly 0. Controls have no concept and respond
to none of this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, cast

import numpy as np
from numpy.typing import NDArray

from maia.services import scenes
from maia.services._runtime.revision import revision_of
from maia.services.subject.backends.scene_neurons.controls import digest_of, respond_without_concept
from maia.services.subject.backends.scene_neurons.responses import respond
from maia.services.subject.backends.scene_neurons.seeing import MAP_SIDE, Map, Seen, look
from maia.services.subject.backends.scene_neurons.table import Rule, rules
from maia.services.subject.model import Answers, Input, Layer, SubjectInfo
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

NAME: Final = "scene-neurons"


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
                title="Synthetic neurons of the scene world: concepts, and what can be said with two or three of them.",
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
        return _Input(Frame.whole(rgb.shape[1], rgb.shape[0]), look(rgb), digest_of(rgb))

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> Mapping[str, Answers]:
        """Say how the units of each layer respond to what was found."""
        pictures = tuple(cast("_Input", one) for one in inputs)
        return {layer: _Answers(rules()[layer], pictures) for layer in layers}


@dataclass(frozen=True, slots=True)
class _Input:
    frame: Frame
    seen: Sequence[Seen]
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Answers:
    """How each of a layer's units responds to each picture: as a rule, and what it is applied to."""

    rules: Sequence[Rule]
    pictures: Sequence[_Input]

    @property
    def nbytes(self) -> int:
        things = (thing for picture in self.pictures for thing in picture.seen)
        return sum(thing.outline.nbytes + thing.region.mask.nbytes for thing in things)

    def maps(self, row: int, units: Sequence[int]) -> NDArray[np.float32]:
        found = np.zeros((len(units), MAP_SIDE, MAP_SIDE), np.float32)
        for place, unit in enumerate(units):
            response = _response(self.rules[unit], self.pictures[row])
            if response is not None:
                found[place] = response
        return found


def _response(rule: Rule, picture: _Input) -> Map | None:
    """Return a unit's map over a picture, or None if it is off."""
    if rule.control is not None:
        return respond_without_concept(rule.control, picture.digest)
    return respond(rule.meaning, picture.seen)
