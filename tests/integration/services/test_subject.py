"""The subject server, by gRPC, with scene-neurons."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.integration.services.conftest import Draw, readable, refusal, served, too_large, unreadable

from maia.services._runtime.jobs import BatchLimits
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.queue import BatchQueue
from maia.services.subject.ablating import ablation_job
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.backends.scene_neurons.table import truths
from maia.services.subject.cache import AnswerCache
from maia.services.subject.looking import Looking, look_job
from maia.services.subject.measuring import measure
from maia.services.subject.model import Ablation, Answers, Input, Layer, Subject, SubjectInfo, Unit
from maia.services.subject.servicer import subject_service
from maia.services.subject.subjects import Subjects
from maia.subject.v1 import subject_pb2, subject_pb2_grpc
from maia.type.v1 import type_pb2
from maia.wire.errors import DeadlineExceededError, InvalidRequestError, NotFoundError, OutOfRangeError
from maia.wire.limits import MAX_MESSAGE_BYTES, MAX_PICTURES
from maia.wire.maps import Frame, map_from_proto
from maia.wire.pictures import Rgb, decode_picture

Stub: TypeAlias = "subject_pb2_grpc.SubjectServiceAsyncStub"
RED = type_pb2.Unit(layer="mono", index=truths()["mono"].index("red"))


def request(*pictures: type_pb2.Picture, **fields: object) -> subject_pb2.MeasureUnitsRequest:
    return subject_pb2.MeasureUnitsRequest(
        **{"subject": "scene-neurons", "pictures": pictures, "units": [RED]} | fields  # type: ignore[arg-type]  # by test
    )


async def test_the_subject_is_described(subject_stub: Stub) -> None:
    listed = await subject_stub.ListSubjects(subject_pb2.ListSubjectsRequest())
    assert list(listed.subjects) == ["scene-neurons"]
    info = await subject_stub.GetSubject(subject_pb2.GetSubjectRequest(subject="scene-neurons"))
    assert [layer.name for layer in info.layers] == list(truths())
    assert info.revision == SceneNeurons.load().info.revision


async def test_no_answer_contains_a_truth(subject_stub: Stub, draw: Draw) -> None:
    info = await subject_stub.GetSubject(subject_pb2.GetSubjectRequest(subject="scene-neurons"))
    controls = [type_pb2.Unit(layer="mixed", index=index) for index in range(len(truths()["mixed"]))]
    measured = await subject_stub.MeasureUnits(request(await draw("a red circle"), units=[RED, *controls]))
    labels = [label for of_layer in truths().values() for label in of_layer]
    for answer in (info, measured):
        text = str(answer)  # escapes the packed numbers of maps, so that no word stands there by chance
        assert not [word for word in (*labels, "none", "dead", "constant", "noise", "control") if word in text]


async def test_pictures_are_measured_in_order_and_batches_do_not_matter(subject_stub: Stub, draw: Draw) -> None:
    prompts = ["a red circle", "a blue circle", "a large red star", "a plain background"] * 5
    assert len(prompts) > BatchLimits().most
    pictures = [await draw(prompt, seed) for seed, prompt in enumerate(prompts)]
    response = await subject_stub.MeasureUnits(request(*pictures, units=[RED, RED]))
    assert response.precision == "float32"
    subject = SceneNeurons.load()
    for picture, measured in zip(pictures, response.pictures, strict=True):
        expected = measure(subject, [decode_picture(picture)], [Unit("mono", RED.index)])
        for unit in measured.units:  # a duplicate is answered as often as it is asked
            assert unit.activation == expected.activations[0, 0]
            assert np.array_equal(map_from_proto(unit.map), expected.maps[0][0])
        assert Frame.from_proto(measured.frame) == Frame.whole(224, 224)
    assert [measured.units[0].activation > 0 for measured in response.pictures] == [True, False, True, False] * 5


async def test_maps_may_be_left_out(subject_stub: Stub, draw: Draw) -> None:
    response = await subject_stub.MeasureUnits(request(await draw("a red circle"), activations_only=True))
    assert response.pictures[0].units[0].activation > 0
    assert not response.pictures[0].units[0].HasField("map")


@pytest.mark.parametrize("name", unreadable())
async def test_a_picture_that_cannot_be_read_is_named(subject_stub: Stub, draw: Draw, name: str) -> None:
    good = await draw("a red circle")
    pictures = [good] * 40 + [unreadable()[name]]
    error = await refusal(subject_stub.MeasureUnits(request(*pictures)))
    assert isinstance(error, InvalidRequestError)
    assert (error.reason, error.metadata["index"]) == ("PICTURE_UNREADABLE", "40")


@pytest.mark.parametrize("name", readable())
async def test_an_unusual_picture_is_measured(subject_stub: Stub, name: str) -> None:
    assert len((await subject_stub.MeasureUnits(request(readable()[name]))).pictures) == 1


async def test_a_header_that_promises_too_much_is_refused(subject_stub: Stub) -> None:
    assert (await refusal(subject_stub.MeasureUnits(request(too_large())))).reason == "PICTURE_TOO_LARGE"


async def test_names_and_numbers_that_do_not_exist(subject_stub: Stub, draw: Draw) -> None:
    picture = await draw("a red circle")
    for call in (
        subject_stub.GetSubject(subject_pb2.GetSubjectRequest(subject="resnet")),
        subject_stub.MeasureUnits(request(picture, subject="resnet")),
    ):
        error = await refusal(call)
        assert isinstance(error, NotFoundError)
        assert (error.reason, error.metadata["valid"]) == ("SUBJECT_UNKNOWN", "scene-neurons")
    error = await refusal(subject_stub.MeasureUnits(request(picture, units=[type_pb2.Unit(layer="layer9")])))
    assert (error.reason, error.metadata["valid"]) == ("LAYER_UNKNOWN", ", ".join(truths()))
    error = await refusal(subject_stub.MeasureUnits(request(picture, units=[type_pb2.Unit(layer="or", index=20)])))
    assert isinstance(error, OutOfRangeError)
    assert (error.reason, error.metadata["units"]) == ("UNIT_OUT_OF_RANGE", "20")


async def test_a_request_with_nothing_or_too_much_in_it(subject_stub: Stub, draw: Draw) -> None:
    picture = await draw("a red circle")
    assert (await refusal(subject_stub.MeasureUnits(request()))).reason == "REQUEST_EMPTY"
    assert (await refusal(subject_stub.MeasureUnits(request(picture, units=[])))).reason == "REQUEST_EMPTY"
    many = [type_pb2.Picture()] * (MAX_PICTURES + 1)
    assert (await refusal(subject_stub.MeasureUnits(request(*many)))).reason == "REQUEST_TOO_LARGE"
    pairs = request(*[picture] * 16, units=[RED] * ((1 << 16) + 1))
    assert (await refusal(subject_stub.MeasureUnits(pairs))).reason == "REQUEST_TOO_LARGE"
    # 2,700 maps of 28 × 28 halves on 16 pictures do not fit into a message; known before anything is measured.
    wide = request(*[picture] * 16, units=[RED] * 2700)
    error = await refusal(subject_stub.MeasureUnits(wide))
    assert (error.reason, error.metadata["limit"]) == ("REQUEST_TOO_LARGE", str(MAX_MESSAGE_BYTES))
    wide.activations_only = True
    assert len((await subject_stub.MeasureUnits(wide)).pictures[15].units) == 2700


class Blocking:
    """A subject that measures when it is let, and counts how often it began."""

    def __init__(self) -> None:
        self._subject = SceneNeurons.load()
        self.info: SubjectInfo = self._subject.info
        self.began = 0
        self.looked = 0
        self.busy = threading.Event()
        self.release = threading.Event()

    @property
    def nbytes(self) -> int:
        return 0

    def prepare(self, rgb: Rgb) -> Input:
        return self._subject.prepare(rgb)

    def look(self, inputs: Sequence[Input], layers: Sequence[str]) -> Mapping[str, Answers]:
        self.began += 1
        self.busy.set()
        self.looked += len(inputs)
        self.release.wait(10)
        return self._subject.look(inputs, layers)


@asynccontextmanager
async def serving(*subjects: Subject, cache_bytes: int = 0) -> AsyncIterator[Stub]:
    """A server of subjects that the test made."""
    metrics, cache = Metrics(), AnswerCache(cache_bytes)
    by_name = {subject.info.name: subject for subject in subjects}
    with ModelThread("subject") as thread:
        async with (
            BatchQueue(look_job(cache, metrics), thread, BatchLimits(), metrics) as queue,
            BatchQueue(ablation_job(), thread) as ablations,
        ):
            service = subject_service(
                Subjects(by_name.__getitem__, list(by_name), thread), Looking(queue, cache, metrics), ablations
            )
            async with served([service]) as channel:
                yield subject_pb2_grpc.SubjectServiceStub(channel)


async def test_a_passed_deadline_drops_what_waits(draw: Draw) -> None:
    picture = await draw("a red circle")
    subject = Blocking()
    async with serving(subject) as stub:
        two_batches = request(*[picture] * 20)
        calls = [stub.MeasureUnits(two_batches, timeout=0.5), stub.MeasureUnits(request(picture), timeout=0.5)]
        errors = await asyncio.gather(*(refusal(call) for call in calls))
        assert [type(error) for error in errors] == [DeadlineExceededError] * 2
        subject.release.set()
        await stub.MeasureUnits(request(picture), timeout=10)
    assert subject.began == 2  # the first batch, and the last call


async def test_a_picture_that_was_measured_is_not_looked_at_again(draw: Draw) -> None:
    picture, other = await draw("a red circle"), await draw("a blue star")
    subject = Blocking()
    subject.release.set()
    async with serving(subject, cache_bytes=1 << 24) as stub:
        first = await stub.MeasureUnits(request(picture, units=[RED]))
        again = await stub.MeasureUnits(request(picture, picture, units=[RED]))
        assert subject.began == 1
        assert list(again.pictures) == [first.pictures[0]] * 2
        both = await stub.MeasureUnits(request(other, picture, units=[RED]))
        assert subject.began == 2
        assert both.pictures[1] == first.pictures[0]
        assert both.pictures[0].units[0].activation == 0


async def test_a_picture_that_many_measure_at_once_is_looked_at_once(draw: Draw) -> None:
    picture, other = await draw("a red circle"), await draw("a blue star")
    subject = Blocking()
    async with serving(subject, cache_bytes=1 << 24) as stub:
        calls = [stub.MeasureUnits(request(picture, units=[RED])) for _ in range(40)]
        calls.append(stub.MeasureUnits(request(other, units=[RED])))
        await asyncio.to_thread(subject.busy.wait, 10)
        subject.release.set()
        answers = await asyncio.gather(*calls)
    assert all(answer == answers[0] for answer in answers[:40])
    assert answers[0].pictures[0].units[0].activation > answers[40].pictures[0].units[0].activation == 0
    assert subject.looked == 2


async def test_a_mean_is_pooled_on_request(subject_stub: Stub, draw: Draw) -> None:
    asked = request(await draw("a red circle"))
    asked.pooling = subject_pb2.POOLING_MEAN
    (measured,) = (await subject_stub.MeasureUnits(asked)).pictures
    values = map_from_proto(measured.units[0].map).astype(np.float32)
    assert measured.units[0].activation == pytest.approx(values.mean(), rel=1e-2)
    assert 0 < measured.units[0].activation < values.max()


async def test_a_subject_without_classes_refuses_an_ablation(subject_stub: Stub, draw: Draw) -> None:
    asked = subject_pb2.AblateUnitRequest(subject="scene-neurons", pictures=[await draw("a star")], unit=RED)
    assert (await refusal(subject_stub.AblateUnit(asked))).reason == "NO_CLASSIFIER"


async def test_layers_say_what_their_units_are(subject_stub: Stub) -> None:
    info = await subject_stub.GetSubject(subject_pb2.GetSubjectRequest(subject="scene-neurons"))
    assert {layer.kind for layer in info.layers} == {subject_pb2.LAYER_KIND_CHANNEL}
    assert info.precision == "float32"
    listed = await subject_stub.ListSubjects(subject_pb2.ListSubjectsRequest())
    assert list(listed.subjects) == list(listed.loaded) == ["scene-neurons"]


class Classifying(Blocking):
    """Two classes: how much of a picture is red, and whether the unit is held at more than 1."""

    def __init__(self) -> None:
        super().__init__()
        self.release.set()
        self.info = replace(self.info, classes=("red", "held"))

    def prepare(self, rgb: Rgb) -> Input:
        made = super().prepare(rgb)
        self.red = float((rgb[..., 0] > 200).mean())
        return made

    def classify(self, inputs: Sequence[Input], ablation: Ablation | None = None) -> NDArray[np.float32]:
        held = ablation is not None and ablation.value > 1
        return np.array([[self.red, held]] * len(inputs), np.float32)


async def test_an_ablation_says_what_changes(draw: Draw) -> None:
    picture = await draw("a large red circle")
    async with serving(Classifying()) as stub:
        asked = subject_pb2.AblateUnitRequest(subject="scene-neurons", pictures=[picture] * 3, unit=RED, value=2.5)
        answer = await stub.AblateUnit(asked)
        assert [list(one.after) for one in answer.pictures] == [[one.before[0], 1.0] for one in answer.pictures]
        assert [one.before[1] for one in answer.pictures] == [0.0] * 3
        assert answer.value == 2.5
        asked.own_mean = True
        own = await stub.AblateUnit(asked)
        measure_mean = request(picture)
        measure_mean.pooling = subject_pb2.POOLING_MEAN
        (measured,) = (await stub.MeasureUnits(measure_mean)).pictures
        assert own.value == pytest.approx(measured.units[0].activation)
        asked.value = float("inf")
        assert (await refusal(stub.AblateUnit(asked))).reason == "VALUE_NOT_FINITE"


async def test_a_name_of_a_megabyte_is_refused_at_once(draw: Draw) -> None:
    subject = Blocking()
    layers = tuple(Layer(f"stage.{i}.block", 1, 1, 1) for i in range(200))
    subject.info = replace(subject.info, layers=layers)
    long = type_pb2.Unit(layer="stage" * 200_000)
    async with serving(subject) as stub:
        asyncio.get_running_loop().slow_callback_duration = 1
        error = await refusal(stub.MeasureUnits(request(await draw("a star"), units=[long]), timeout=5))
    assert error.reason == "LAYER_UNKNOWN"


async def test_units_asked_a_hundred_thousand_times_are_read_once(draw: Draw) -> None:
    asked = request(await draw("a red circle"), units=[RED] * 100_000, activations_only=True)
    subject = Blocking()
    subject.release.set()
    async with serving(subject) as stub:
        (measured,) = (await stub.MeasureUnits(asked, timeout=20)).pictures
    assert len(measured.units) == 100_000
    assert len({unit.activation for unit in measured.units}) == 1
