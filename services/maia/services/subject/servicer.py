"""The gRPC half of the subject server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import check_count, picture_batches
from maia.services.subject.measuring import Measurements
from maia.services.subject.measuring import measure as measure_batch
from maia.services.subject.model import Subject, SubjectInfo, Unit
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.wire.deadline import Deadline
from maia.wire.errors import InvalidRequestError, NotFoundError
from maia.wire.limits import MAX_MEASUREMENTS, MAX_MESSAGE_BYTES
from maia.wire.maps import map_to_proto
from maia.wire.pictures import decode_picture
from maia.wire.server import Hosted

BATCH: Final = 16
"""Pictures in one forward pass."""

_MAP_EXTRA: Final = 24  # bytes around the values of a map in a message, and its activation

_Context = grpc.aio.ServicerContext


class SubjectServicer(subject_pb2_grpc.SubjectServiceServicer):
    """Answers for the subjects that it was given, by name."""

    def __init__(self, subjects: Mapping[str, Subject], thread: ModelThread) -> None:
        self._subjects = subjects
        self._thread = thread

    @override
    async def ListSubjects(
        self, request: subject_pb2.ListSubjectsRequest, context: _Context[Any, Any]
    ) -> subject_pb2.ListSubjectsResponse:
        return subject_pb2.ListSubjectsResponse(subjects=self._subjects)

    @override
    async def GetSubject(
        self, request: subject_pb2.GetSubjectRequest, context: _Context[Any, Any]
    ) -> subject_pb2.GetSubjectResponse:
        info = self._subject(request.subject).info
        return subject_pb2.GetSubjectResponse(
            subject=info.name,
            title=info.title,
            layers=[
                subject_pb2.Layer(
                    name=layer.name, units=layer.units, map_height=layer.map_height, map_width=layer.map_width
                )
                for layer in info.layers
            ],
            input_size=info.input_size,
            revision=info.revision,
        )

    @override
    async def MeasureUnits(
        self, request: subject_pb2.MeasureUnitsRequest, context: _Context[Any, Any]
    ) -> subject_pb2.MeasureUnitsResponse:
        subject = self._subject(request.subject)
        units = _units(request, subject.info)
        maps = not request.activations_only
        deadline = Deadline.of(context)
        response = subject_pb2.MeasureUnitsResponse(precision=subject.info.precision)
        for batch in await picture_batches(request.pictures, BATCH):

            def measure(batch: range = batch) -> list[subject_pb2.PictureMeasurement]:
                decoded = [decode_picture(request.pictures[index], index=index) for index in batch]
                return _packed(measure_batch(subject, decoded, units), maps=maps)

            response.pictures.extend(await self._thread.run(measure, deadline, doing="measuring"))
        return response

    def _subject(self, name: str) -> Subject:
        try:
            return self._subjects[name]
        except KeyError:
            valid = ", ".join(self._subjects)
            raise NotFoundError(
                f"no subject {name!r:.100} here; this server has {valid}",
                reason="SUBJECT_UNKNOWN",
                metadata={"subject": name, "valid": valid},
            ) from None


def subject_service(subjects: Mapping[str, Subject], thread: ModelThread) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        subject_pb2.DESCRIPTOR.services_by_name["SubjectService"],
        subject_pb2_grpc.add_SubjectServiceServicer_to_server,
        SubjectServicer(subjects, thread),
    )


def _units(request: subject_pb2.MeasureUnitsRequest, info: SubjectInfo) -> list[Unit]:
    """The units of a request whose counts are within bounds."""
    check_count(request.pictures, "picture")
    if not request.units:
        raise InvalidRequestError("the request has no unit; send at least one", reason="REQUEST_EMPTY")
    pairs = len(request.pictures) * len(request.units)
    if pairs > MAX_MEASUREMENTS:
        raise InvalidRequestError(
            f"{len(request.units)} units on {len(request.pictures)} pictures are {pairs} measurements; send at most "
            f"{MAX_MEASUREMENTS} at a time",
            reason="REQUEST_TOO_LARGE",
            metadata={"limit": str(MAX_MEASUREMENTS)},
        )
    units = [Unit(unit.layer, unit.index) for unit in request.units]
    for unit in units:
        info.check(unit)
    if not request.activations_only:
        layers = {layer.name: layer for layer in info.layers}
        picture = sum(2 * layers[unit.layer].map_height * layers[unit.layer].map_width + _MAP_EXTRA for unit in units)
        if picture * len(request.pictures) > MAX_MESSAGE_BYTES:
            raise InvalidRequestError(
                f"the maps of {len(units)} units on {len(request.pictures)} pictures have "
                f"{picture * len(request.pictures)} bytes, and a message at most {MAX_MESSAGE_BYTES}; ask for fewer at "
                "a time, or for activations_only",
                reason="REQUEST_TOO_LARGE",
                metadata={"limit": str(MAX_MESSAGE_BYTES)},
            )
    return units


def _packed(measured: Measurements, *, maps: bool) -> list[subject_pb2.PictureMeasurement]:
    return [
        subject_pb2.PictureMeasurement(
            frame=frame.to_proto(),
            units=[
                subject_pb2.UnitMeasurement(
                    activation=activation, map=map_to_proto(measured.maps[unit][picture]) if maps else None
                )
                for unit, activation in enumerate(measured.activations[picture].tolist())
            ],
        )
        for picture, frame in enumerate(measured.frames)
    ]
