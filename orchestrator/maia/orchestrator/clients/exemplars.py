"""The exemplars server: the dataset pictures that drive a unit most."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.orchestrator.clients.calling import Connection, Terms
from maia.orchestrator.clients.subject import Unit
from maia.orchestrator.conversation import Picture
from maia.wire.maps import Frame, map_from_proto, mask_from_proto


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
        map: float16, shape (h, w), read-only. Where only a mask is stored, 1 inside and 0 outside.
        frame: What of the picture the map covers.
        dataset_index: Its place in the dataset.
        threshold: Of this map alone, where it was a mask; None for that of all of the unit's.
        title: What people call it.
    """

    picture: Picture
    activation: float
    map: NDArray[np.float16] = field(repr=False)
    frame: Frame
    dataset_index: int
    threshold: float | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class TopPictures:
    """A unit's exemplars, highest activation first, and the threshold of its masks, None if nobody knows it."""

    exemplars: tuple[Exemplar, ...]
    threshold: float | None


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
        """Return a unit's exemplars, however many answers they need.

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
        request = exemplars_pb2.GetExemplarsRequest(
            subject=subject, subject_revision=revision, unit=unit.to_proto(), in_parts=True
        )
        exemplars: list[Exemplar] = []
        while True:
            request.skip = len(exemplars)
            answer = await self._connection.ask(self._stub.GetExemplars, request, terms)
            exemplars += map(self._exemplar, answer.exemplars)
            if not (answer.more and answer.exemplars):
                break
        threshold = answer.threshold if answer.HasField("threshold") else None
        return TopPictures(tuple(exemplars), threshold)

    async def threshold(self, subject: str, revision: str, unit: Unit, terms: Terms) -> float | None:
        """Return the threshold of a unit's masks, None if nobody knows it; raises as `top`."""
        request = exemplars_pb2.GetStatisticsRequest(subject=subject, subject_revision=revision, unit=unit.to_proto())
        answer = await self._connection.ask(self._stub.GetStatistics, request, terms)
        return answer.threshold if answer.HasField("threshold") else None

    def _exemplar(self, one: exemplars_pb2.Exemplar) -> Exemplar:
        if one.HasField("mask"):
            region, threshold = mask_from_proto(one.mask).astype(np.float16), 0.5
        else:
            region, threshold = map_from_proto(one.map), None
        picture = self._connection.received(one.picture)
        frame = Frame.from_proto(one.frame)
        return Exemplar(picture, one.activation, region, frame, one.dataset_index, threshold, one.title)
