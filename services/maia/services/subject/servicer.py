"""The gRPC half of the subject server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
import numpy as np
from typing_extensions import override

from maia.services._runtime.fairness import Principal
from maia.services._runtime.jobs import Key
from maia.services._runtime.requests import batches, check_count, picture_sizes, principal_of
from maia.services.subject.ablating import AblationQueue, Ask
from maia.services.subject.cache import Seen
from maia.services.subject.looking import Looking, revision
from maia.services.subject.measuring import outputs
from maia.services.subject.model import Ablation, Classifier, LayerKind, Subject, SubjectInfo, Unit, parts_of
from maia.services.subject.subjects import Subjects
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.wire.deadline import Deadline
from maia.wire.errors import InvalidRequestError, PreconditionError
from maia.wire.limits import MAX_MEASUREMENTS, MAX_MESSAGE_BYTES
from maia.wire.maps import map_to_proto
from maia.wire.server import Hosted

_WINDOW: Final = 32
"""Pictures of one request whose answers are held at once."""

_AT_ONCE: Final = 256
"""Units whose maps are held at once, in float32."""

_FEW: Final = 256
"""Units that are checked on the event loop."""

_MAP_EXTRA: Final = 24  # bytes around the values of a map in a message, and its activation

_KINDS: Final = {
    LayerKind.CHANNEL: subject_pb2.LAYER_KIND_CHANNEL,
    LayerKind.CLASS: subject_pb2.LAYER_KIND_CLASS,
    LayerKind.DIRECTION: subject_pb2.LAYER_KIND_DIRECTION,
}
_Context = grpc.aio.ServicerContext


class SubjectServicer(subject_pb2_grpc.SubjectServiceServicer):
    """Answers for the subjects that it was given, by name."""

    def __init__(self, subjects: Subjects, looking: Looking, ablations: AblationQueue) -> None:
        self._subjects = subjects
        self._looking = looking
        self._ablations = ablations

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
        few = len(request.units) <= _FEW
        units = _units(request, subject.info) if few else await asyncio.to_thread(_units, request, subject.info)
        parts = parts_of(subject, units) if few else await asyncio.to_thread(parts_of, subject, units)
        wanted = list(dict.fromkeys(parts.values()))
        response = subject_pb2.MeasureUnitsResponse(precision=subject.info.precision)
        # Window by window: what layers answered to a picture is large, and held until it is packed.
        principal, deadline = principal_of(context), Deadline.of(context)
        for start, pictures in batches(request.pictures, _WINDOW):
            seen = await self._looking.look(subject, wanted, pictures, principal, deadline, start=start)
            response.pictures.extend(await asyncio.to_thread(_packed, request, seen, units, parts))
        return response

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
            value = await self._own_mean(request, subject, unit, principal_of(context), deadline)
        if not math.isfinite(value):
            raise InvalidRequestError(f"a unit cannot be held at {value}", reason="VALUE_NOT_FINITE")
        ablation = Ablation(unit, value)
        asks = [Ask(classifier, ablation, picture, index) for index, picture in enumerate(request.pictures)]
        sizes = await asyncio.to_thread(picture_sizes, request.pictures)
        found = await self._ablations.submit(
            asks,
            [Key(subject.info.name, (revision(subject), ablation))] * len(asks),
            principal=principal_of(context),
            deadline=deadline,
            weights=[size.pixels for size in sizes],
        )
        return subject_pb2.AblateUnitResponse(
            pictures=[
                subject_pb2.AblatedPicture(before=one.before.tolist(), after=one.after.tolist()) for one in found
            ],
            value=value,
            precision=subject.info.precision,
        )

    async def _own_mean(
        self,
        request: subject_pb2.AblateUnitRequest,
        subject: Subject,
        unit: Unit,
        principal: Principal,
        deadline: Deadline,
    ) -> float:
        """The unit's mean over all places of all pictures."""
        means: list[float] = []
        for start, pictures in batches(request.pictures, _WINDOW):
            seen = await self._looking.look(subject, [unit.layer], pictures, principal, deadline, start=start)
            means += await asyncio.to_thread(
                lambda there: [float(one.answers.maps(one.row, [unit.index]).mean()) for one in there],
                [one[unit.layer] for one in seen],
            )
        return float(np.mean(means))


def subject_service(subjects: Subjects, looking: Looking, ablations: AblationQueue) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        subject_pb2.DESCRIPTOR.services_by_name["SubjectService"],
        subject_pb2_grpc.add_SubjectServiceServicer_to_server,
        SubjectServicer(subjects, looking, ablations),
    )


def _classifier(subject: Subject) -> Classifier:
    if not subject.info.classes or not isinstance(subject, Classifier):
        raise PreconditionError(
            f"{subject.info.name} tells no classes apart, so that nothing could be said of an ablation",
            reason="NO_CLASSIFIER",
        )
    return subject


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
    counts = {layer.name: layer.units for layer in info.layers}
    for unit in units:
        if unit.index >= counts.get(unit.layer, 0):
            info.check(unit)  # says what is wrong
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
    seen: Sequence[Mapping[str, Seen]],
    units: Sequence[Unit],
    parts: Mapping[Unit, str],
) -> list[subject_pb2.PictureMeasurement]:
    """What was asked of each picture; each distinct unit is read once, some at a time."""
    pool = np.mean if request.pooling == subject_pb2.POOLING_MEAN else np.max
    distinct = list(parts)
    packed = []
    for one in seen:
        answers = {part: (there.answers, there.row) for part, there in one.items()}
        of: dict[Unit, subject_pb2.UnitMeasurement] = {}
        for _, some in batches(distinct, _AT_ONCE):
            for unit, raw in zip(some, outputs(answers, some, parts), strict=True):
                of[unit] = subject_pb2.UnitMeasurement(
                    activation=float(pool(raw)), map=None if request.activations_only else map_to_proto(raw)
                )
        frame = one[parts[units[0]]].frame.to_proto()
        packed.append(subject_pb2.PictureMeasurement(frame=frame, units=[of[unit] for unit in units]))
    return packed
