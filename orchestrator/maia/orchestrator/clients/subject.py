"""The subject server: which models there are, and how their units respond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its name, its number of units, the size of its activation maps (height, width)."""

    name: str
    units: int
    map_size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class SubjectInfo:
    """A subject: its name, a sentence for people, its layers, the side of its input in pixels, its revision."""

    name: str
    title: str
    layers: tuple[Layer, ...]
    input_size: int
    revision: str


@dataclass(frozen=True, slots=True)
class Response:
    """How one unit responds to one picture.

    Attributes:
        activation: Spatial maximum of the raw layer output.
        map: float16, shape (h, w), read-only.
        frame: What of the picture the map covers.
    """

    activation: float
    map: NDArray[np.float16] = field(repr=False)
    frame: Frame


class SubjectClient:
    """Speaks to the subject server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = subject_pb2_grpc.SubjectServiceStub(connection.channel)

    async def subjects(self, terms: Terms) -> tuple[str, ...]:
        """Return the names of the subjects."""
        answer = await self._connection.ask(self._stub.ListSubjects, subject_pb2.ListSubjectsRequest(), terms)
        return tuple(answer.subjects)

    async def info(self, subject: str, terms: Terms) -> SubjectInfo:
        """Describe a subject.

        Raises:
            NotFoundError: SUBJECT_UNKNOWN; the message names those that exist.
        """
        request = subject_pb2.GetSubjectRequest(subject=subject)
        answer = await self._connection.ask(self._stub.GetSubject, request, terms)
        layers = tuple(Layer(layer.name, layer.units, (layer.map_height, layer.map_width)) for layer in answer.layers)
        return SubjectInfo(answer.subject, answer.title, layers, answer.input_size, answer.revision)

    async def measure(
        self, subject: str, pictures: Sequence[Picture], units: Sequence[Unit], terms: Terms
    ) -> list[list[Response]]:
        """Measure units on pictures, in one request.

        Returns:
            One list per picture, with one response per unit.

        Raises:
            NotFoundError: SUBJECT_UNKNOWN or LAYER_UNKNOWN.
            OutOfRangeError: UNIT_OUT_OF_RANGE.
            InvalidRequestError: PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index"; REQUEST_EMPTY;
                MESSAGE_TOO_LARGE.
        """
        request = subject_pb2.MeasureUnitsRequest(
            subject=subject, pictures=all_sent(pictures), units=[unit.to_proto() for unit in units]
        )
        answer = await self._connection.ask(self._stub.MeasureUnits, request, terms)
        self._connection.expect(answer.pictures, len(pictures))
        return [self._responses(picture, len(units)) for picture in answer.pictures]

    def _responses(self, picture: subject_pb2.PictureMeasurement, units: int) -> list[Response]:
        self._connection.expect(picture.units, units)
        frame = Frame.from_proto(picture.frame)
        return [Response(unit.activation, map_from_proto(unit.map), frame) for unit in picture.units]
