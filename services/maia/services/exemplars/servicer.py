"""The gRPC half of the exemplars server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import grpc
import structlog
from typing_extensions import override

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import Exemplar
from maia.services.exemplars.store import ExemplarStore
from maia.type.v1 import type_pb2
from maia.wire.errors import InvalidRequestError, MaiaError
from maia.wire.limits import MAX_MESSAGE_BYTES
from maia.wire.maps import map_to_proto, mask_to_proto
from maia.wire.pictures import read_header
from maia.wire.server import Hosted

_log = structlog.get_logger(__name__)

_SAMPLED: Final = 15
"""Pictures of the sample, if no number is asked for."""

_MOST_BYTES: Final = MAX_MESSAGE_BYTES * 7 // 8
"""Of the pictures and maps of an answer; titles and frames need room too."""

_Context = grpc.aio.ServicerContext


class ExemplarsServicer(exemplars_pb2_grpc.ExemplarsServiceServicer):
    """Answers from one store, reading in threads: there is no model that only one of them may touch."""

    def __init__(self, store: ExemplarStore) -> None:
        self._store = store

    @override
    async def ListExemplarSets(
        self, request: exemplars_pb2.ListExemplarSetsRequest, context: _Context[Any, Any]
    ) -> exemplars_pb2.ListExemplarSetsResponse:
        left_out: list[MaiaError] = []
        manifests = await asyncio.to_thread(self._store.manifests, left_out)
        for error in left_out:
            _log.warning("set left out", reason=error.reason, why=error.message)
        return exemplars_pb2.ListExemplarSetsResponse(
            sets=[
                exemplars_pb2.ExemplarSet(
                    subject=manifest.subject,
                    subject_revision=manifest.subject_revision,
                    layer=layer.name,
                    units=layer.units,
                    top=manifest.top,
                    dataset=manifest.dataset,
                    dataset_size=manifest.dataset_size,
                )
                for manifest in manifests
                for layer in manifest.layers
            ]
        )

    @override
    async def GetExemplars(
        self, request: exemplars_pb2.GetExemplarsRequest, context: _Context[Any, Any]
    ) -> exemplars_pb2.GetExemplarsResponse:
        def read() -> exemplars_pb2.GetExemplarsResponse:
            layer = self._find(request)
            exemplars, more = _asked(layer, request)
            return exemplars_pb2.GetExemplarsResponse(
                threshold=layer.statistics(request.unit.index).threshold,
                subject_revision=layer.manifest.subject_revision,
                dataset=layer.manifest.dataset,
                exemplars=[_told(exemplar) for exemplar in exemplars],
                more=more,
            )

        return await asyncio.to_thread(read)

    @override
    async def GetStatistics(
        self, request: exemplars_pb2.GetStatisticsRequest, context: _Context[Any, Any]
    ) -> exemplars_pb2.GetStatisticsResponse:
        def read() -> exemplars_pb2.GetStatisticsResponse:
            layer = self._find(request)
            known = layer.statistics(request.unit.index)
            return exemplars_pb2.GetStatisticsResponse(
                threshold=known.threshold,
                subject_revision=layer.manifest.subject_revision,
                dataset=layer.manifest.dataset,
                mean=known.mean,
                density=known.density,
                edges=() if known.edges is None else known.edges.tolist(),
                counts=() if known.histogram is None else known.histogram.tolist(),
            )

        return await asyncio.to_thread(read)

    def _find(self, request: exemplars_pb2.GetExemplarsRequest | exemplars_pb2.GetStatisticsRequest) -> ExemplarLayer:
        return self._store.find(request.subject, request.unit.layer, request.subject_revision, request.dataset)


def exemplars_service(store: ExemplarStore) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        exemplars_pb2.DESCRIPTOR.services_by_name["ExemplarsService"],
        exemplars_pb2_grpc.add_ExemplarsServiceServicer_to_server,
        ExemplarsServicer(store),
    )


def _asked(layer: ExemplarLayer, request: exemplars_pb2.GetExemplarsRequest) -> tuple[Sequence[Exemplar], bool]:
    """What is asked for, or as much of it as fits, and whether there is more."""
    start = request.skip
    try:
        return _read(layer, request, slice(start, None)), False
    except InvalidRequestError as error:
        fit = int(error.metadata.get("fit", 0))
        if not (request.in_parts and fit):
            raise
        return _read(layer, request, slice(start, start + fit)), True


def _read(layer: ExemplarLayer, request: exemplars_pb2.GetExemplarsRequest, part: slice) -> Sequence[Exemplar]:
    unit, count = request.unit.index, request.count
    if not request.HasField("quantiles"):
        return layer.exemplars(unit, count or None, part=part, most_bytes=_MOST_BYTES)
    low, high = request.quantiles.low, request.quantiles.high
    if not 0 <= low < high <= 1:
        raise InvalidRequestError(
            f"there are no quantiles from {low} to {high}; 0 ≤ low < high ≤ 1", reason="QUANTILES_INVALID"
        )
    return layer.sampled(unit, low, high, count or _SAMPLED, part=part, most_bytes=_MOST_BYTES)


def _told(exemplar: Exemplar) -> exemplars_pb2.Exemplar:
    picture = exemplar.picture
    message = exemplars_pb2.Exemplar(
        picture=type_pb2.Picture(data=picture.data, media_type=read_header(picture.data).media_type),
        activation=exemplar.activation,
        frame=picture.frame.to_proto(),
        dataset_index=picture.index,
        title=picture.title,
    )
    if exemplar.map is not None:
        message.map.CopyFrom(map_to_proto(exemplar.map))
    elif exemplar.mask is not None:
        message.mask.CopyFrom(mask_to_proto(exemplar.mask))
    return message
