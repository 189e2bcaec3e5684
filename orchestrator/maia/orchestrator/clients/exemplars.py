"""The exemplars server: the dataset pictures that drive a unit most."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.orchestrator.clients.calling import Connection, Terms
from maia.orchestrator.clients.subject import Unit
from maia.orchestrator.conversation import Picture
from maia.wire.maps import Frame, map_from_proto


@dataclass(frozen=True, slots=True)
class ExemplarSet:
    """What is stored for one layer: units, pictures per unit, and the dataset that was passed over."""

    subject: str
    revision: str
    layer: str
    units: int
    top: int
    dataset: str
    dataset_size: int


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A top picture of a unit.

    Attributes:
        picture: The original.
        activation: Spatial maximum of the raw layer output.
        map: float16, shape (h, w), read-only.
        frame: What of the picture the map covers.
        dataset_index: Its place in the dataset.
    """

    picture: Picture
    activation: float
    map: NDArray[np.float16] = field(repr=False)
    frame: Frame
    dataset_index: int


@dataclass(frozen=True, slots=True)
class TopPictures:
    """A unit's exemplars, highest activation first, and the threshold of its masks."""

    exemplars: tuple[Exemplar, ...]
    threshold: float


class ExemplarsClient:
    """Speaks to the exemplars server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stub = exemplars_pb2_grpc.ExemplarsServiceStub(connection.channel)

    async def sets(self, terms: Terms) -> tuple[ExemplarSet, ...]:
        """Return what is stored."""
        answer = await self._connection.ask(self._stub.ListExemplarSets, exemplars_pb2.ListExemplarSetsRequest(), terms)
        return tuple(
            ExemplarSet(one.subject, one.subject_revision, one.layer, one.units, one.top, one.dataset, one.dataset_size)
            for one in answer.sets
        )

    async def top(self, subject: str, revision: str, unit: Unit, terms: Terms) -> TopPictures:
        """Return a unit's exemplars.

        Args:
            subject: Its name.
            revision: `SubjectInfo.revision` of what is measured, since exemplars of another would mislead; "" for the
                newest that is stored.
            unit: Which unit.
            terms: Of the call.

        Raises:
            NotFoundError: EXEMPLARS_MISSING; the message says how to build them.
            OutOfRangeError: UNIT_OUT_OF_RANGE.
        """
        request = exemplars_pb2.GetExemplarsRequest(subject=subject, subject_revision=revision, unit=unit.to_proto())
        answer = await self._connection.ask(self._stub.GetExemplars, request, terms)
        exemplars = tuple(
            Exemplar(
                self._connection.received(one.picture),
                one.activation,
                map_from_proto(one.map),
                Frame.from_proto(one.frame),
                one.dataset_index,
            )
            for one in answer.exemplars
        )
        return TopPictures(exemplars, answer.threshold)

    async def threshold(self, subject: str, revision: str, unit: Unit, terms: Terms) -> float:
        """Return the threshold of a unit's masks; raises as `top`."""
        request = exemplars_pb2.GetThresholdRequest(subject=subject, subject_revision=revision, unit=unit.to_proto())
        return (await self._connection.ask(self._stub.GetThreshold, request, terms)).threshold
