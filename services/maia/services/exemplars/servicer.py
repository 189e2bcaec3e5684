"""The gRPC half of the exemplars server."""

from __future__ import annotations

from typing import Any

import grpc
from typing_extensions import override

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.services._runtime.model_thread import ModelThread
from maia.services.exemplars.store import ExemplarStore
from maia.wire.deadline import Deadline
from maia.wire.maps import map_to_proto
from maia.wire.pictures import png_picture
from maia.wire.server import Hosted

_Context = grpc.aio.ServicerContext


class ExemplarsServicer(exemplars_pb2_grpc.ExemplarsServiceServicer):
    """Answers from one store."""

    def __init__(self, store: ExemplarStore, thread: ModelThread) -> None:
        self._store = store
        self._thread = thread

    @override
    async def ListExemplarSets(
        self, request: exemplars_pb2.ListExemplarSetsRequest, context: _Context[Any, Any]
    ) -> exemplars_pb2.ListExemplarSetsResponse:
        manifests = await self._thread.run(self._store.manifests, Deadline.of(context), doing="listing")
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
            layer = self._store.find(request.subject, request.unit.layer, request.subject_revision)
            return exemplars_pb2.GetExemplarsResponse(
                threshold=layer.threshold(request.unit.index),
                subject_revision=layer.manifest.subject_revision,
                exemplars=[
                    exemplars_pb2.Exemplar(
                        picture=png_picture(exemplar.png),
                        activation=exemplar.activation,
                        frame=exemplar.frame.to_proto(),
                        map=map_to_proto(exemplar.map),
                        dataset_index=exemplar.dataset_index,
                    )
                    for exemplar in layer.exemplars(request.unit.index)
                ],
            )

        return await self._thread.run(read, Deadline.of(context), doing="reading")

    @override
    async def GetThreshold(
        self, request: exemplars_pb2.GetThresholdRequest, context: _Context[Any, Any]
    ) -> exemplars_pb2.GetThresholdResponse:
        def read() -> exemplars_pb2.GetThresholdResponse:
            layer = self._store.find(request.subject, request.unit.layer, request.subject_revision)
            return exemplars_pb2.GetThresholdResponse(
                threshold=layer.threshold(request.unit.index), subject_revision=layer.manifest.subject_revision
            )

        return await self._thread.run(read, Deadline.of(context), doing="reading")


def exemplars_service(store: ExemplarStore, thread: ModelThread) -> Hosted:
    """Return the service for a server to host."""
    return Hosted(
        exemplars_pb2.DESCRIPTOR.services_by_name["ExemplarsService"],
        exemplars_pb2_grpc.add_ExemplarsServiceServicer_to_server,
        ExemplarsServicer(store, thread),
    )
