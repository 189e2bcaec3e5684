"""The gRPC half of the subject server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
import numpy as np
from typing_extensions import override

from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.requests import batches, check_count, principal_of
from maia.services.subject.cache import Seen
from maia.services.subject.looking import Looking
from maia.services.subject.measuring import outputs
from maia.services.subject.model import Ablation, Classifier, LayerKind, Subject, SubjectInfo, Unit
from maia.services.subject.subjects import Subjects
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.wire.deadline import Deadline
from maia.wire.errors import InvalidRequestError, PreconditionError
from maia.wire.limits import MAX_MEASUREMENTS, MAX_MESSAGE_BYTES
from maia.wire.maps import map_to_proto
from maia.wire.pictures import decode_picture
from maia.wire.server import Hosted

_ABLATED_AT_ONCE: Final = 16

_MAP_EXTRA: Final = 24  # bytes around the values of a map in a message, and its activation

_KINDS: Final = {
    LayerKind.CHANNEL: subject_pb2.LAYER_KIND_CHANNEL,
    LayerKind.CLASS: subject_pb2.LAYER_KIND_CLASS,
    LayerKind.DIRECTION: subject_pb2.LAYER_KIND_DIRECTION,
}
_Context = grpc.aio.ServicerContext


class SubjectServicer(subject_pb2_grpc.SubjectServiceServicer):
    """Answers for the subjects that it was given, by name."""

    def __init__(self, subjects: Subjects, looking: Looking, thread: ModelThread) -> None:
        self._subjects = subjects
        self._looking = looking
        self._thread = thread

    @override
    async def ListSubjects(
        self, request: subject_pb2.ListSubjectsRequest, context: _Context[Any, Any]
    ) -> subject_pb2.ListSubjectsResponse:
        return subject_pb2.ListSubjectsResponse(subjects=self._subjects.names, loaded=self._subjects.loaded)

    @override
    async def GetSubject(
        self, request: subject_pb2.GetSubjectRequest, context: _Context[Any, Any]
    ) -> subject_pb2.GetSubjectResponse:
        info = (await self._subjects.get(request.subject)).info
        return subject_pb2.GetSubjectResponse(
            subject=info.name,
            title=info.title,
            layers=[
                subject_pb2.Layer(
                    name=layer.name,
                    units=layer.units,
                    map_height=layer.map_height,
                    map_width=layer.map_width,
                    kind=_KINDS[layer.kind],
                )
                for layer in info.layers
            ],
            input_size=info.input_size,
            revision=info.revision,
            precision=info.precision,
            classes=info.classes,
        )

    @override
    async def MeasureUnits(
        self, request: subject_pb2.MeasureUnitsRequest, context: _Context[Any, Any]
    ) -> subject_pb2.MeasureUnitsResponse:
        subject = await self._subjects.get(request.subject)
        units = _units(request, subject.info)
        seen = await self._looking.look(
            subject, _layers(units), request.pictures, principal_of(context), Deadline.of(context)
        )
        return await asyncio.to_thread(_packed, request, subject.info, seen, units)

    @override
    async def AblateUnit(
        self, request: subject_pb2.AblateUnitRequest, context: _Context[Any, Any]
    ) -> subject_pb2.AblateUnitResponse:
        check_count(request.pictures, "picture")
        subject = await self._subjects.get(request.subject)
        unit = Unit(request.unit.layer, request.unit.index)
        subject.info.check(unit)
        classifier = _classifier(subject)
        deadline = Deadline.of(context)
        value = request.value
        if request.own_mean:
            seen = await self._looking.look(subject, [unit.layer], request.pictures, principal_of(context), deadline)
            value = float(np.mean([one[unit.layer].answers.maps(one[unit.layer].row, [unit.index]) for one in seen]))
        if not math.isfinite(value):
            raise InvalidRequestError(f"a unit cannot be held at {value}", reason="VALUE_NOT_FINITE")
        response = subject_pb2.AblateUnitResponse(value=value, precision=subject.info.precision)

        def classify(start: int, pictures: Sequence[Any]) -> list[subject_pb2.AblatedPicture]:
            inputs = [
                classifier.prepare(decode_picture(picture, index=start + i)) for i, picture in enumerate(pictures)
            ]
            before, after = classifier.classify(inputs), classifier.classify(inputs, Ablation(unit, value))
            return [
                subject_pb2.AblatedPicture(before=one.tolist(), after=other.tolist())
                for one, other in zip(before, after, strict=True)
            ]

        for start, pictures in batches(request.pictures, _ABLATED_AT_ONCE):
            response.pictures.extend(
                await self._thread.run(lambda s=start, p=pictures: classify(s, p), deadline, doing="classifying")  # type: ignore[misc]
            )
        return response


def subject_service(subjects: Subjects, looking: Looking, thread: ModelThread) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        subject_pb2.DESCRIPTOR.services_by_name["SubjectService"],
        subject_pb2_grpc.add_SubjectServiceServicer_to_server,
        SubjectServicer(subjects, looking, thread),
    )


def _classifier(subject: Subject) -> Classifier:
    if not subject.info.classes or not isinstance(subject, Classifier):
        raise PreconditionError(
            f"{subject.info.name} tells no classes apart, so that nothing could be said of an ablation",
            reason="NO_CLASSIFIER",
        )
    return subject


def _layers(units: Sequence[Unit]) -> list[str]:
    return list(dict.fromkeys(unit.layer for unit in units))


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


def _packed(
    request: subject_pb2.MeasureUnitsRequest,
    info: SubjectInfo,
    seen: Sequence[Mapping[str, Seen]],
    units: Sequence[Unit],
) -> subject_pb2.MeasureUnitsResponse:
    response = subject_pb2.MeasureUnitsResponse(precision=info.precision)
    mean = request.pooling == subject_pb2.POOLING_MEAN
    for one in seen:
        raws = outputs({layer: (there.answers, there.row) for layer, there in one.items()}, units)
        response.pictures.add(
            frame=one[units[0].layer].frame.to_proto(),
            units=[
                subject_pb2.UnitMeasurement(
                    activation=float(raw.mean() if mean else raw.max()),
                    map=None if request.activations_only else map_to_proto(raw),
                )
                for raw in raws
            ],
        )
    return response
