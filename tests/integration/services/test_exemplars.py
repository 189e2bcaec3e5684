"""Exemplars: found by a pass through a real subject server, served by gRPC."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeAlias

import grpc
import numpy as np
import pytest
from tests.integration.services.conftest import refusal, served
from typing_extensions import override

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.services.exemplars.build import build_exemplars
from maia.services.exemplars.store import ExemplarStore
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.png import embedded_scene
from maia.services.scenes.render import render
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.measuring import measure
from maia.services.subject.model import Unit
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.errors import (
    InternalError,
    InvalidRequestError,
    MaiaError,
    NotFoundError,
    OutOfRangeError,
    PreconditionError,
)
from maia.wire.maps import Frame, map_from_proto
from maia.wire.pictures import decode_picture
from maia.wire.server import Hosted

Stub: TypeAlias = "exemplars_pb2_grpc.ExemplarsServiceAsyncStub"
SIZE = 60


def ask(unit: type_pb2.Unit, revision: str = "") -> exemplars_pb2.GetExemplarsRequest:
    return exemplars_pb2.GetExemplarsRequest(subject="scene-neurons", unit=unit, subject_revision=revision)


async def test_a_pass_finds_what_measuring_everything_finds(
    subject_channel: grpc.aio.Channel, exemplars_stub: Stub, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    await build_exemplars(
        subject_channel, "scene-neurons", tmp_path / "store", size=SIZE, progress=lambda *step: told.append(step)
    )
    assert ("rendering", SIZE, SIZE) in told
    assert told[-1] == ("measuring", SIZE, SIZE)
    subject = SceneNeurons.load()
    units = [Unit("mono", 0), Unit("mono", 12), Unit("or", 7), Unit("and", 3)]
    every = measure(subject, [np.asarray(render(fixed_scene(index))) for index in range(SIZE)], units)
    for column, unit in enumerate(units):
        response = await exemplars_stub.GetExemplars(ask(type_pb2.Unit(layer=unit.layer, index=unit.index)))
        order = np.lexsort((np.arange(SIZE), -every.activations[:, column]))[:15]
        assert [exemplar.dataset_index for exemplar in response.exemplars] == order.tolist()
        assert response.subject_revision == subject.info.revision
        values = every.maps[column].astype(np.float64)
        assert response.threshold == pytest.approx(np.quantile(values, 0.99), rel=1e-6, abs=1e-6)
        for exemplar, index in zip(response.exemplars, order, strict=True):
            assert exemplar.activation == every.activations[index, column]
            assert np.array_equal(map_from_proto(exemplar.map), every.maps[column][index])
            assert Frame.from_proto(exemplar.frame) == every.frames[index]
            assert embedded_scene(exemplar.picture.data) == fixed_scene(index)
            assert decode_picture(exemplar.picture).shape == (224, 224, 3)
        threshold = await exemplars_stub.GetThreshold(
            exemplars_pb2.GetThresholdRequest(
                subject="scene-neurons", unit=type_pb2.Unit(layer=unit.layer, index=unit.index)
            )
        )
        assert threshold.threshold == response.threshold


async def test_a_set_is_built_once_and_listed(
    subject_channel: grpc.aio.Channel, exemplars_stub: Stub, tmp_path: Path
) -> None:
    assert not (await exemplars_stub.ListExemplarSets(exemplars_pb2.ListExemplarSetsRequest())).sets
    first = await build_exemplars(subject_channel, "scene-neurons", tmp_path / "store", size=20)
    told: list[str] = []
    again = await build_exemplars(
        subject_channel, "scene-neurons", tmp_path / "store", size=20, progress=lambda doing, *_: told.append(doing)
    )
    assert again == first
    assert not told
    listed = await exemplars_stub.ListExemplarSets(exemplars_pb2.ListExemplarSetsRequest())
    assert [(found.layer, found.dataset_size, found.dataset, found.top) for found in listed.sets] == [
        (layer, 20, "scenes-v1", 15) for layer in ("mono", "or", "and")
    ]


async def test_what_is_not_there_says_how_to_build_it(
    subject_channel: grpc.aio.Channel, exemplars_stub: Stub, tmp_path: Path
) -> None:
    mono = type_pb2.Unit(layer="mono", index=1)
    error = await refusal(exemplars_stub.GetExemplars(ask(mono)))
    assert isinstance(error, NotFoundError)
    assert error.reason == "EXEMPLARS_MISSING"
    assert "maia exemplars build --model scene-neurons" in error.message
    await build_exemplars(subject_channel, "scene-neurons", tmp_path / "store", size=15)
    await exemplars_stub.GetExemplars(ask(mono))
    error = await refusal(exemplars_stub.GetExemplars(ask(mono, revision="another")))
    assert error.reason == "EXEMPLARS_MISSING"
    assert "not another" in error.message
    error = await refusal(exemplars_stub.GetExemplars(ask(type_pb2.Unit(layer="layer9"))))
    assert error.reason == "EXEMPLARS_MISSING"
    error = await refusal(exemplars_stub.GetExemplars(ask(type_pb2.Unit(layer="and", index=20))))
    assert isinstance(error, OutOfRangeError)
    assert error.metadata["units"] == "20"


async def test_a_build_that_is_stopped_leaves_nothing_and_can_be_repeated(
    subject_channel: grpc.aio.Channel, exemplars_stub: Stub, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    measuring = asyncio.Event()

    def on_progress(doing: str, *_: int) -> None:
        if doing == "measuring":
            measuring.set()

    build = asyncio.create_task(build_exemplars(subject_channel, "scene-neurons", store, size=96, progress=on_progress))
    await measuring.wait()
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert not list(store.glob("sets/**/manifest.json"))
    assert (await build_exemplars(subject_channel, "scene-neurons", store, size=96)).dataset_size == 96


async def test_a_subject_that_does_not_exist_is_named(subject_channel: grpc.aio.Channel, tmp_path: Path) -> None:
    with pytest.raises(MaiaError) as caught:
        await build_exemplars(subject_channel, "resnet", tmp_path)
    assert caught.value.reason == "SUBJECT_UNKNOWN"


class Liar(subject_pb2_grpc.SubjectServiceServicer):
    """A subject whose answers are not what was asked for."""

    def __init__(self, activation: float, pictures_left_out: int) -> None:
        self.activation, self.left_out = activation, pictures_left_out

    @override
    async def ListSubjects(
        self, request: subject_pb2.ListSubjectsRequest, context: object
    ) -> subject_pb2.ListSubjectsResponse:
        return subject_pb2.ListSubjectsResponse(subjects=["liar"])

    @override
    async def GetSubject(
        self, request: subject_pb2.GetSubjectRequest, context: object
    ) -> subject_pb2.GetSubjectResponse:
        layer = subject_pb2.Layer(name="layer", units=1, map_height=1, map_width=1)
        return subject_pb2.GetSubjectResponse(subject="liar", revision="1", layers=[layer])

    @override
    async def AblateUnit(
        self, request: subject_pb2.AblateUnitRequest, context: object
    ) -> subject_pb2.AblateUnitResponse:
        raise NotImplementedError

    @override
    async def MeasureUnits(
        self, request: subject_pb2.MeasureUnitsRequest, context: object
    ) -> subject_pb2.MeasureUnitsResponse:
        one = subject_pb2.UnitMeasurement(
            activation=self.activation, map=type_pb2.ActivationMap(height=1, width=1, values=b"\0\0")
        )
        measured = subject_pb2.PictureMeasurement(units=[one])
        return subject_pb2.MeasureUnitsResponse(pictures=[measured] * (len(request.pictures) - self.left_out))


@pytest.mark.parametrize(
    ("activation", "left_out", "says"),
    [(float("nan"), 0, "layer 0 answered a number that is not finite"), (1.0, 1, "other pictures or units")],
)
async def test_answers_that_cannot_be_are_no_exemplars(
    tmp_path: Path, activation: float, left_out: int, says: str
) -> None:
    service = Hosted(
        subject_pb2.DESCRIPTOR.services_by_name["SubjectService"],
        subject_pb2_grpc.add_SubjectServiceServicer_to_server,
        Liar(activation, left_out),
    )
    async with served([service]) as channel:
        with pytest.raises(InternalError, match=says):
            await build_exemplars(channel, "liar", tmp_path, size=2)
    assert ExemplarStore(tmp_path).manifests() == []


async def test_what_hinders_a_build_is_one_sentence(subject_channel: grpc.aio.Channel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(PreconditionError, match=r"cannot be stored in .*file/store: Not a directory"):
        await build_exemplars(subject_channel, "scene-neurons", tmp_path / "file" / "store", size=1)
    with pytest.raises(InvalidRequestError, match="among 0 pictures"):
        await build_exemplars(subject_channel, "scene-neurons", tmp_path, size=0)
