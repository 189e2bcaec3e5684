"""The subject server, by gRPC, with synthetic neurons on photographs: planted detections, and tiny models from disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
from tests.integration.services.conftest import refusal, served
from tests.unit.services.subject.photograph_neurons.planted import Planted, PlantedDetector, picture

from maia.services._runtime.jobs import BatchLimits
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.queue import BatchQueue
from maia.services.subject import hosting
from maia.services.subject.ablating import ablation_job
from maia.services.subject.backends.photograph_neurons.backend import PhotographNeurons
from maia.services.subject.backends.photograph_neurons.table import read_folder
from maia.services.subject.cache import AnswerCache
from maia.services.subject.looking import Looking, look_job
from maia.services.subject.servicer import subject_service
from maia.services.subject.settings import SubjectSettings
from maia.services.subject.subjects import Subjects
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.errors import PreconditionError
from maia.wire.maps import Frame, map_from_proto
from maia.wire.pictures import encode_png, png_picture

Stub: TypeAlias = "subject_pb2_grpc.SubjectServiceAsyncStub"
NAME = "synthetic_neurons"
LABELS = {"mono": ["dog", "tree", "cat"], "or": ["dog_cat"], "and": ["dog_car window"]}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    for mode, names in LABELS.items():
        entries = [{"label": name, "image_names": [], "activations": []} for name in names]
        (tmp_path / f"{mode}.json").write_text(json.dumps(entries))
    return tmp_path


def unit(layer: str, index: int) -> type_pb2.Unit:
    return type_pb2.Unit(layer=layer, index=index)


def request(*pictures: type_pb2.Picture, units: list[type_pb2.Unit]) -> subject_pb2.MeasureUnitsRequest:
    return subject_pb2.MeasureUnitsRequest(subject=NAME, pictures=pictures, units=units)


def pictures(count: int) -> list[type_pb2.Picture]:
    return [
        png_picture(encode_png(picture(Planted("dog", 0.8, 3, number), Planted("cat", 0.5, 30, number))))
        for number in range(count)
    ]


@asynccontextmanager
async def planted(labels: Path, detector: PlantedDetector) -> AsyncIterator[Stub]:
    subject = PhotographNeurons(read_folder(labels), detector)
    metrics, cache = Metrics(), AnswerCache(10_000_000)
    with ModelThread("subject") as thread:
        subjects = Subjects(lambda _: subject, [NAME], thread)
        async with (
            BatchQueue(look_job(cache, metrics), thread, BatchLimits(), metrics) as queue,
            BatchQueue(ablation_job(), thread, BatchLimits(), metrics) as ablations,
            served([subject_service(subjects, Looking(queue, cache, metrics), ablations)]) as channel,
        ):
            yield subject_pb2_grpc.SubjectServiceStub(channel)


async def test_units_of_all_layers_are_measured_in_order(labels: Path) -> None:
    units = [unit("and", 0), unit("mono", 2), unit("or", 0), unit("mono", 0), unit("mono", 2)]
    async with planted(labels, PlantedDetector()) as stub:
        response = await stub.MeasureUnits(request(*pictures(20), units=units))
    assert [[round(one.activation, 6) for one in measured.units] for measured in response.pictures] == [
        [0, 0.5, 0.8, 0.8, 0.5]
    ] * 20
    for number, measured in enumerate(response.pictures):
        assert Frame.from_proto(measured.frame) == Frame.whole(56, 56)
        assert map_from_proto(measured.units[1].map)[30].nonzero()[0].tolist() == list(range(number, number + 4))


async def test_an_agents_unit_costs_nobody_else_anything(labels: Path) -> None:
    detector = PlantedDetector()
    async with planted(labels, detector) as stub:
        shown = pictures(6)
        await asyncio.gather(
            *(stub.MeasureUnits(request(shown[number], units=[unit("mono", number % 3)])) for number in range(6))
        )
        assert sorted(detector.asked) == [("cat",)] * 2 + [("dog",)] * 2 + [("tree",)] * 2
        detector.asked.clear()
        await stub.MeasureUnits(request(shown[0], units=[unit("mono", 0), unit("mono", 1)]))
        assert detector.asked == [("tree",)]  # the other is remembered


async def test_a_classifier_is_what_it_is_not(labels: Path) -> None:
    async with planted(labels, PlantedDetector()) as stub:
        ablation = subject_pb2.AblateUnitRequest(subject=NAME, pictures=pictures(1), unit=unit("mono", 0))
        assert (await refusal(stub.AblateUnit(ablation))).reason == "NO_CLASSIFIER"


async def test_tiny_models_from_disk_are_served_and_no_answer_contains_a_label(labels: Path, tmp_path: Path) -> None:
    from tests.unit.services.subject.photograph_neurons.tiny_models import save_detector, save_segmenter

    settings = SubjectSettings(
        model=(NAME,),
        labels=labels,
        detector=str(save_detector(tmp_path / "detector")),
        segmenter=str(save_segmenter(tmp_path / "segmenter")),
        device="cpu",
        offline=True,
    )
    shown = pictures(3)
    every = [unit(layer, index) for layer, names in LABELS.items() for index in range(len(names))]
    with ModelThread("subject") as thread:
        async with hosting.host(settings, thread, Metrics()) as services, served(services) as channel:
            stub: Stub = subject_pb2_grpc.SubjectServiceStub(channel)
            info = await stub.GetSubject(subject_pb2.GetSubjectRequest(subject=NAME))
            together = await stub.MeasureUnits(request(*shown, units=every))
            alone = await stub.MeasureUnits(request(shown[1], units=every))
    assert [(layer.name, layer.units) for layer in info.layers] == [("mono", 3), ("or", 1), ("and", 1)]
    assert together.pictures[1].SerializeToString(deterministic=True) == alone.pictures[0].SerializeToString(
        deterministic=True
    )
    assert any(one.activation > 0 for measured in together.pictures for one in measured.units)
    for answer in (info, together):
        text = str(answer)  # escapes the packed numbers of maps, so that no word stands there by chance
        assert not [word for word in ("dog", "cat", "tree", "car window", "window") if word in text]


async def test_without_labels_the_server_does_not_start(tmp_path: Path) -> None:
    with ModelThread("subject") as thread, pytest.raises(PreconditionError, match="--labels") as caught:
        await hosting.host(SubjectSettings(model=(NAME,)), thread, Metrics()).__aenter__()
    assert caught.value.reason == "LABELS_MISSING"
