"""Exemplars: found by a pass through a real subject server, served by gRPC."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TypeAlias

import grpc
import numpy as np
import pytest
from tests.integration.services.conftest import refusal

from maia.exemplars.v1 import exemplars_pb2, exemplars_pb2_grpc
from maia.services.exemplars.build import build_exemplars
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.png import embedded_scene
from maia.services.scenes.render import render
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.model import Unit
from maia.type.v1 import type_pb2
from maia.wire.errors import MaiaError, NotFoundError, OutOfRangeError
from maia.wire.maps import Frame, map_from_proto
from maia.wire.pictures import decode_picture

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
    every = subject.measure([np.asarray(render(fixed_scene(index))) for index in range(SIZE)], units)
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
