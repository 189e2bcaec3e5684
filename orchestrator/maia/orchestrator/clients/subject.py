"""The subject server: which models there are, and how their units respond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maia.orchestrator.clients.calling import Connection, Terms, all_sent
from maia.orchestrator.conversation import Picture
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.maps import Frame, map_from_proto


@dataclass(frozen=True, slots=True)
class Unit:
    """One channel of one layer."""

    layer: str
    index: int

    def to_proto(self) -> type_pb2.Unit:
        """Return the message."""
        return type_pb2.Unit(layer=self.layer, index=self.index)


class LayerKind(StrEnum):
    """What the units of a layer are."""

    CHANNEL = "channel"
    """A channel of a convolution or of a sequence of tokens."""

    CLASS = "class"
    """An output of the classifier; its map has one place."""

    DIRECTION = "direction"
    """A direction in the channels of another layer."""

    UNKNOWN = "unknown"
    """The server does not say, or says what this client does not know."""


_KINDS: Final[Mapping[int, LayerKind]] = MappingProxyType(
    {
        subject_pb2.LAYER_KIND_CHANNEL: LayerKind.CHANNEL,
        subject_pb2.LAYER_KIND_CLASS: LayerKind.CLASS,
        subject_pb2.LAYER_KIND_DIRECTION: LayerKind.DIRECTION,
    }
)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its name, its number of units, the size of its activation maps (height, width), what its units are."""

    name: str
    units: int
    map_size: tuple[int, int]
    kind: LayerKind = LayerKind.CHANNEL


@dataclass(frozen=True, slots=True)
class SubjectInfo:
    """A subject.

    Attributes:
        name: Of the subject.
        title: A sentence for people.
        layers: Shallow to deep.
        input_size: Side of its input in pixels.
        revision: Changes whenever a measurement may change.
        precision: Of the forward pass: "float32", "bfloat16" or "float16".
        classes: What its classifier tells apart, in the order of its outputs; empty without one.
    """

    name: str
    title: str
    layers: tuple[Layer, ...]
    input_size: int
    revision: str
    precision: str
    classes: tuple[str, ...] = field(repr=False)


class Pooling(StrEnum):
    """How a map becomes one number."""

    MAX = "max"
    MEAN = "mean"


_POOLINGS: Final[Mapping[Pooling, subject_pb2.Pooling.ValueType]] = MappingProxyType(
    {Pooling.MAX: subject_pb2.POOLING_MAX, Pooling.MEAN: subject_pb2.POOLING_MEAN}
)


@dataclass(frozen=True, slots=True)
class Response:
    """How one unit responds to one picture.

    Attributes:
        activation: Spatial maximum of the raw layer output, or its mean if that was asked for.
        map: float16, shape (h, w), read-only.
        frame: What of the picture the map covers.
    """

    activation: float
    map: NDArray[np.float16] = field(repr=False)
    frame: Frame


@dataclass(frozen=True, slots=True)
class Effect:
    """What a subject's classifier makes of one picture.

    Attributes:
        before: With the unit as it is, the probabilities of all classes: float32, shape (classes,), read-only.
        after: The same with the unit held.
    """

    before: NDArray[np.float32] = field(repr=False)
    after: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ablation:
    """What holding a unit does.

    Attributes:
        value: What the unit was held at.
        effects: In the order of the pictures; their classes in that of `SubjectInfo.classes`.
        precision: Of the forward pass: "float32", "bfloat16" or "float16".
    """

    value: float
    effects: tuple[Effect, ...]
    precision: str


class SubjectClient:
    """Speaks to the subject server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = subject_pb2_grpc.SubjectServiceStub(connection.channel)

    async def subjects(self, terms: Terms) -> tuple[str, ...]:
        """Return the names of the subjects."""
        answer = await self._connection.ask(self._stub.ListSubjects, subject_pb2.ListSubjectsRequest(), terms)
        return tuple(answer.subjects)

    async def loaded(self, terms: Terms) -> tuple[str, ...]:
        """Return the names of those in memory; the others are loaded by the first other call that names them."""
        answer = await self._connection.ask(self._stub.ListSubjects, subject_pb2.ListSubjectsRequest(), terms)
        return tuple(answer.loaded)

    async def info(self, subject: str, terms: Terms) -> SubjectInfo:
        """Describe a subject; it is loaded for that if need be.

        Raises:
            NotFoundError: SUBJECT_UNKNOWN; the message names those that exist.
        """
        request = subject_pb2.GetSubjectRequest(subject=subject)
        answer = await self._connection.ask(self._stub.GetSubject, request, terms)
        layers = tuple(
            Layer(
                layer.name,
                layer.units,
                (layer.map_height, layer.map_width),
                _KINDS.get(layer.kind, LayerKind.UNKNOWN),
            )
            for layer in answer.layers
        )
        return SubjectInfo(
            answer.subject,
            answer.title,
            layers,
            answer.input_size,
            answer.revision,
            answer.precision,
            tuple(answer.classes),
        )

    async def measure(
        self,
        subject: str,
        pictures: Sequence[Picture],
        units: Sequence[Unit],
        terms: Terms,
        *,
        pooling: Pooling = Pooling.MAX,
    ) -> list[list[Response]]:
        """Measure units on pictures, in one request.

        Args:
            subject: Its name.
            pictures: At least one.
            units: At least one; duplicates are answered as often as they are asked.
            terms: Of the call.
            pooling: How a map becomes the activation.

        Returns:
            One list per picture, with one response per unit.

        Raises:
            NotFoundError: SUBJECT_UNKNOWN or LAYER_UNKNOWN.
            OutOfRangeError: UNIT_OUT_OF_RANGE.
            InvalidRequestError: PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index"; REQUEST_EMPTY;
                MESSAGE_TOO_LARGE.
        """
        request = subject_pb2.MeasureUnitsRequest(
            subject=subject,
            pictures=all_sent(pictures),
            units=[unit.to_proto() for unit in units],
            pooling=_POOLINGS[pooling],
        )
        answer = await self._connection.ask(self._stub.MeasureUnits, request, terms)
        self._connection.expect(answer.pictures, len(pictures))
        return [self._responses(picture, len(units)) for picture in answer.pictures]

    async def ablate(
        self, subject: str, pictures: Sequence[Picture], unit: Unit, value: float | None, terms: Terms
    ) -> Ablation:
        """Ask what the classifier makes of pictures while a unit is held at a value, in one request.

        Args:
            subject: Its name.
            pictures: At least one.
            unit: A channel.
            value: Finite; what the unit is at every place of its map. None for its own mean over all places of all
                these pictures.
            terms: Of the call.

        Raises:
            NotFoundError: SUBJECT_UNKNOWN or LAYER_UNKNOWN.
            OutOfRangeError: UNIT_OUT_OF_RANGE.
            PreconditionError: NO_CLASSIFIER.
            InvalidRequestError: UNIT_NOT_ABLATABLE or VALUE_NOT_FINITE; and as `measure`.
        """
        request = subject_pb2.AblateUnitRequest(subject=subject, pictures=all_sent(pictures), unit=unit.to_proto())
        if value is None:
            request.own_mean = True
        else:
            request.value = value
        answer = await self._connection.ask(self._stub.AblateUnit, request, terms)
        self._connection.expect(answer.pictures, len(pictures))
        for picture in answer.pictures:
            self._connection.expect(picture.after, len(picture.before))
        effects = tuple(Effect(_probabilities(one.before), _probabilities(one.after)) for one in answer.pictures)
        return Ablation(answer.value, effects, answer.precision)

    def _responses(self, picture: subject_pb2.PictureMeasurement, units: int) -> list[Response]:
        self._connection.expect(picture.units, units)
        frame = Frame.from_proto(picture.frame)
        return [Response(unit.activation, map_from_proto(unit.map), frame) for unit in picture.units]


def _probabilities(values: Sequence[float]) -> NDArray[np.float32]:
    array = np.array(values, np.float32)
    array.flags.writeable = False
    return array
