"""Synthetic units over photographs.

A map covers the whole picture, squeezed to MAP_SIDE². Units are asked for one by one (`Selective`): each concept costs
a pass of the detector, and an agent studies one unit of dozens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, cast

import numpy as np
from numpy.typing import NDArray

from maia.services.subject.backends.networks.failures import library
from maia.services.subject.backends.networks.options import NetworkOptions, Precision
from maia.services.subject.backends.photograph_neurons.detecting import MAP_SIDE, Detector, Map, Sight
from maia.services.subject.backends.photograph_neurons.options import NAME, PhotographOptions
from maia.services.subject.backends.photograph_neurons.responses import respond, shown
from maia.services.subject.backends.photograph_neurons.table import Mode, Rule, read_folder
from maia.services.subject.model import Answers, Input, Layer, SubjectInfo, Unit
from maia.wire.errors import InvalidRequestError, PreconditionError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb

_INPUT: Final = 800  # shorter side that GroundingDINO looks at


class PhotographNeurons:
    """The subject `synthetic_neurons`; a `maia.services.subject.model.Selective`.

    Args:
        rules: Of the units of each mode; each mode is a layer.
        detector: Finds their concepts.

    Raises:
        PreconditionError: LABELS_INVALID: the detector cannot look for a concept.
    """

    def __init__(self, rules: Mapping[Mode, Sequence[Rule]], detector: Detector) -> None:
        self._rules = {str(mode): tuple(units) for mode, units in rules.items()}
        self._detector = detector
        for layer, units in self._rules.items():
            for index, rule in enumerate(units):
                try:
                    detector.check(rule.concepts)
                except ValueError as error:
                    raise PreconditionError(
                        f"{NAME} {layer} {index} cannot be looked for: {error}",
                        reason="LABELS_INVALID",
                        metadata={"layer": layer, "index": str(index)},
                    ) from None
        table = repr([(layer, [rule.concepts for rule in units]) for layer, units in self._rules.items()])
        self._info = SubjectInfo(
            name=NAME,
            title="Synthetic neurons on photographs: each responds to one concept, to any of several, or to several "
            "together, by open-vocabulary detection.",
            layers=tuple(Layer(layer, len(units), MAP_SIDE, MAP_SIDE) for layer, units in self._rules.items()),
            input_size=_INPUT,
            revision=hashlib.sha256(f"{table}\n{detector.revision}".encode()).hexdigest()[:12],
        )

    @classmethod
    def load(cls, options: PhotographOptions, network: NetworkOptions) -> Self:
        """Read the labels and load both models.

        Args:
            options: Which labels and models.
            network: Device, folders, and whether anything may be downloaded.

        Raises:
            InvalidRequestError: SETTING_INVALID.
            PreconditionError: LABELS_MISSING, LABELS_INVALID, or what `load_detector` raises.
        """
        rules = read_folder(options.labels)
        return cls(rules, load_detector(options, network))

    @property
    def info(self) -> SubjectInfo:
        """Its description; without what its units respond to."""
        return self._info

    @property
    def nbytes(self) -> int:
        """Of the detector's weights."""
        return self._detector.nbytes

    @property
    def detector(self) -> Detector:
        """Finds the concepts."""
        return self._detector

    def prepare(self, rgb: Rgb) -> _Input:
        """Make a picture ready for the detector; a map always covers the whole of it."""
        return _Input(Frame.whole(rgb.shape[1], rgb.shape[0]), self._detector.prepare(rgb))

    def part(self, unit: Unit) -> str:
        """Return what `look` takes to answer for one unit alone."""
        return f"{unit.layer}/{unit.index}"

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> Mapping[str, Answers]:
        """Look for the concepts of layers, or of parts; each distinct one once on a picture."""
        rules = {name: self._units(name) for name in layers}
        concepts = {name: _concepts(units.values()) for name, units in rules.items()}
        every = list(dict.fromkeys(concept for some in concepts.values() for concept in some))
        seen = []
        for one in inputs:
            found = self._detector.detect(cast("_Input", one).sight, every)
            seen.append({concept: shown(found[concept]) for concept in every})
        return {
            name: _Answers(rules[name], tuple({concept: one[concept] for concept in concepts[name]} for one in seen))
            for name in layers
        }

    def _units(self, name: str) -> Mapping[int, Rule]:
        """The units of a layer, or of a part, by index."""
        layer, _, index = name.partition("/")
        return {int(index): self._rules[layer][int(index)]} if index else dict(enumerate(self._rules[layer]))


def load_detector(options: PhotographOptions, network: NetworkOptions) -> Detector:
    """Load both models.

    Raises:
        InvalidRequestError: SETTING_INVALID: another precision than float32.
        PreconditionError: What `loading.load` raises.
    """
    if network.precision is not Precision.FLOAT32:
        raise InvalidRequestError(
            f"{NAME} measures in float32, for which its thresholds are, not in {network.precision}; leave out "
            "--precision",
            reason="SETTING_INVALID",
        )
    with library("torch", "safetensors", "transformers", extra="serve"):
        from maia.services.subject.backends.photograph_neurons.loading import load
    return load(options, network)


@dataclass(frozen=True, slots=True)
class _Input:
    frame: Frame
    sight: Sight


@dataclass(frozen=True, slots=True)
class _Answers:
    """How units respond to each picture: as rules, and the maps of the concepts that they are applied to."""

    rules: Mapping[int, Rule]
    pictures: Sequence[Mapping[str, Map]]

    @property
    def nbytes(self) -> int:
        return sum(one.nbytes for picture in self.pictures for one in picture.values())

    def maps(self, row: int, units: Sequence[int]) -> NDArray[np.float32]:
        found = np.empty((len(units), MAP_SIDE, MAP_SIDE), np.float32)
        for place, unit in enumerate(units):
            found[place] = respond(self.rules[unit], self.pictures[row])
        return found


def _concepts(rules: Iterable[Rule]) -> list[str]:
    return list(dict.fromkeys(concept for rule in rules for concept in rule.concepts))
