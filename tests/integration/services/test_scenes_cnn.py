"""The trained subject through the whole chain: its server, a pass over the scene set, exemplars of its units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.integration.services.conftest import served

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.building.build import Build, build
from maia.services.subject import hosting
from maia.services.subject.settings import SubjectSettings
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.maps import Frame, map_from_proto

pytest.importorskip("torch", reason="the demo extra is not installed")


async def test_a_trained_network_is_measured_and_has_exemplars(
    exemplars_stub: exemplars_pb2_grpc.ExemplarsServiceAsyncStub, tmp_path: Path
) -> None:
    with ModelThread("subject") as thread:
        async with (
            hosting.host(SubjectSettings(model=("scenes-cnn",)), thread, Metrics()) as services,
            served(services) as channel,
        ):
            stub = subject_pb2_grpc.SubjectServiceStub(channel)
            info = await stub.GetSubject(subject_pb2.GetSubjectRequest(subject="scenes-cnn"))
            manifest = build(Build("scenes-cnn", "scenes", tmp_path / "store", size=20)).manifest
            layer = info.layers[-1]
            unit = type_pb2.Unit(layer=layer.name, index=layer.units - 1)
            request = exemplars_pb2.GetExemplarsRequest(subject="scenes-cnn", unit=unit, subject_revision=info.revision)
            response = await exemplars_stub.GetExemplars(request)
            best = response.exemplars[0]
            measured = await stub.MeasureUnits(
                subject_pb2.MeasureUnitsRequest(subject="scenes-cnn", pictures=[best.picture], units=[unit])
            )
    assert manifest is not None
    assert manifest.subject_revision == info.revision
    assert [stored.units for stored in manifest.layers] == [layer.units for layer in info.layers]
    (again,) = measured.pictures[0].units
    # A picture measured alone differs from the same one in a batch by float rounding only.
    assert again.activation == pytest.approx(best.activation, rel=1e-3, abs=1e-3)
    assert np.allclose(map_from_proto(again.map), map_from_proto(best.map), rtol=1e-2, atol=1e-2)
    assert Frame.from_proto(best.frame) == Frame.centre_square(224, 224)
