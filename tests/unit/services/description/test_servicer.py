"""What the servicer does around a describer: batches across callers, places in errors, calls that end early."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeAlias

import grpc
import numpy as np
import pytest
from prometheus_client import generate_latest
from tests.unit.services.description.views import item, upper_half

from maia.description.v1 import description_pb2, description_pb2_grpc
from maia.services._runtime.jobs import Abandoned, BatchLimits
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.description.model import DescriberInfo, Question, Task
from maia.services.description.servicer import BATCHES, description_service
from maia.type.v1 import type_pb2
from maia.wire.channels import open_channel
from maia.wire.errors import CancelledError, InternalError, InvalidRequestError, MaiaError, OverloadedError
from maia.wire.server import running
from maia.wire.status import translated

Stub: TypeAlias = "description_pb2_grpc.DescriptionServiceAsyncStub"
FORBIDDEN = 99
ROOM = BatchLimits(most=8, waiting=1000)


class Telling:
    """Tells what it sees, and remembers its batches; it answers only when it is let."""

    info = DescriberInfo("telling", "1")

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.free = threading.Event()
        self.free.set()
        self.begun = threading.Event()
        self.before: Callable[[], None] = lambda: None

    def key(self, task: Task, views: int) -> str:
        return "any"

    def answer(self, questions: Sequence[Question], abandoned: Abandoned) -> list[str | MaiaError]:
        self.begun.set()
        assert self.free.wait(20)
        self.batches.append([_told(question) for question in questions])
        self.before()
        return [
            InvalidRequestError("no", reason="CONTENT_REFUSED", metadata={"index": str(question.index)})
            if question.views[0].rgb.shape[0] == FORBIDDEN
            else _told(question)
            for question in questions
        ]


def _told(question: Question) -> str:
    marks = [f"{view.rgb[0, 0].sum()}{'' if view.mask is None else f'/{view.mask.sum()}'}" for view in question.views]
    return f"{question.task}: {' '.join(marks)}"


class Waiting(Telling):
    """Looks until nobody waits any more."""

    def __init__(self) -> None:
        super().__init__()
        self.left = threading.Event()

    def answer(self, questions: Sequence[Question], abandoned: Abandoned) -> list[str | MaiaError]:
        self.begun.set()
        until = time.monotonic() + 30
        while not abandoned() and time.monotonic() < until:
            time.sleep(0.01)
        if abandoned():
            self.left.set()
        raise CancelledError("left")


@asynccontextmanager
async def stub_of(
    describer: Telling, limits: BatchLimits = ROOM, metrics: Metrics | None = None
) -> AsyncIterator[Stub]:
    with ModelThread("test") as thread:
        try:
            async with (
                description_service(describer, thread, limits, metrics) as service,
                running([service]) as server,
                open_channel(server.address) as channel,
            ):
                yield description_pb2_grpc.DescriptionServiceStub(channel)
        finally:
            describer.free.set()


def describe(
    stub: Stub, *items: description_pb2.DescribeItem, session: str = "a", timeout: float | None = None
) -> asyncio.Task[list[str]]:
    async def asked() -> list[str]:
        with translated(server="server"):
            answer = await stub.DescribeImages(
                description_pb2.DescribeImagesRequest(items=items),
                metadata=(("maia-session", session),),
                timeout=timeout,
            )
        return list(answer.descriptions)

    return asyncio.create_task(asked())


def summarize(stub: Stub, *items: description_pb2.DescribeItem, session: str = "a") -> asyncio.Task[str]:
    async def asked() -> str:
        with translated(server="server"):
            answer = await stub.SummarizeImages(
                description_pb2.SummarizeImagesRequest(items=items), metadata=(("maia-session", session),)
            )
        return answer.summary

    return asyncio.create_task(asked())


async def until_begun(describer: Telling) -> None:
    assert await asyncio.to_thread(describer.begun.wait, 10)


async def test_pictures_and_their_masks_come_back_in_words_in_order() -> None:
    describer = Telling()
    async with stub_of(describer) as stub:
        info = await stub.GetDescriber(description_pb2.GetDescriberRequest())
        assert (info.describer, info.revision) == ("telling", "1")
        items = [item(seed, upper_half(24, 16) if seed % 2 else None) for seed in range(20)]
        lines = await describe(stub, *items)
        assert len(set(lines)) == 20
        assert all(("/192" in line) == bool(seed % 2) for seed, line in enumerate(lines))
        for one, line in zip(items, lines, strict=True):
            assert await describe(stub, one) == [line]
        summary = await summarize(stub, *items)
        assert summary == "summarize: " + " ".join(line.removeprefix("describe: ") for line in lines)
    assert max(map(len, describer.batches)) <= ROOM.most


async def test_callers_share_a_batch_and_a_summary_is_one_of_its_own() -> None:
    describer = Telling()
    describer.free.clear()
    async with stub_of(describer, replace(ROOM, most=4)) as stub:
        first = describe(stub, item(0))
        await until_begun(describer)
        many = describe(stub, *[item(seed) for seed in range(1, 7)], session="many")
        await asyncio.sleep(0.1)
        one = describe(stub, item(50), session="one")
        both = summarize(stub, item(1), item(2), session="summary")
        await asyncio.sleep(0.1)
        describer.free.set()
        (line,), lines = await one, await many
        await asyncio.gather(first, both)
    holding = next(batch for batch in describer.batches if line in batch)
    assert len(holding) > 1
    assert set(holding) - {line} <= set(lines)
    assert len([batch for batch in describer.batches if "summarize" in batch[0]]) == 1
    for batch in describer.batches:
        assert len({told.partition(":")[0] for told in batch}) == 1


async def test_who_came_with_one_picture_does_not_wait_for_all_of_another() -> None:
    describer = Telling()
    describer.free.clear()
    async with stub_of(describer, replace(ROOM, most=1)) as stub:
        many = describe(stub, *[item(seed) for seed in range(8)], session="many")
        await until_begun(describer)
        one = describe(stub, item(50), session="one")
        await asyncio.sleep(0.2)
        describer.free.set()
        (line,) = await one
        await many
    assert [line] in describer.batches[:3]


async def test_deterministic_batches_hold_one_question() -> None:
    describer = Telling()
    async with stub_of(describer, replace(ROOM, most=1)) as stub:
        await describe(stub, *[item(seed) for seed in range(5)])
    assert [len(batch) for batch in describer.batches] == [1] * 5


async def test_a_picture_that_fails_is_told_by_its_place_in_its_own_request() -> None:
    describer = Telling()
    async with stub_of(describer) as stub:
        forbidden = item(1, size=(24, FORBIDDEN))
        for items in ([item(seed) for seed in range(10)] + [forbidden], [forbidden], [item(3), forbidden, item(4)]):
            with pytest.raises(InvalidRequestError) as caught:
                await describe(stub, *items)
            place = str(items.index(forbidden))
            assert (caught.value.reason, caught.value.metadata["index"]) == ("CONTENT_REFUSED", place)


async def test_bad_items_are_told_by_their_place_and_harm_nobody_else() -> None:
    describer = Telling()
    describer.free.clear()
    good = [item(seed) for seed in range(9)]
    wrong_size = item(1, upper_half(24, 15))
    short = item(1, upper_half(24, 16))
    short.mask.bits = b"short"
    broken = description_pb2.DescribeItem(
        picture=type_pb2.Picture(data=good[0].picture.data[:60], media_type="image/png")
    )
    misnamed = description_pb2.DescribeItem(
        picture=type_pb2.Picture(data=good[0].picture.data, media_type="image/jpeg")
    )
    async with stub_of(describer) as stub:
        first = describe(stub, item(70))
        await until_begun(describer)
        cases = [
            (wrong_size, "MASK_MISMATCHED"),
            (short, "MASK_MISMATCHED"),
            (broken, "PICTURE_UNREADABLE"),
            (misnamed, "PICTURE_UNREADABLE"),
        ]
        bad = [describe(stub, *good, one, session=str(number)) for number, (one, _) in enumerate(cases)]
        bad += [describe(stub, one, session="alone") for one, _ in cases]
        other = describe(stub, *good, session="other")
        await asyncio.sleep(0.2)
        describer.free.set()
        assert len(await other) == 9
        await first
        for number, (task, (_, reason)) in enumerate(zip(bad, cases * 2, strict=True)):
            with pytest.raises(InvalidRequestError) as caught:
                await task
            place = "9" if number < len(cases) else "0"
            assert (caught.value.reason, caught.value.metadata["index"]) == (reason, place)
        for one, reason in cases:
            with pytest.raises(InvalidRequestError) as caught:
                await summarize(stub, good[0], good[1], one)
            assert (caught.value.reason, caught.value.metadata["index"]) == (reason, "2")
        for call in (describe(stub), summarize(stub)):
            with pytest.raises(InvalidRequestError) as caught:
                await call
            assert caught.value.reason == "REQUEST_EMPTY"


async def test_what_was_answered_before_another_item_failed_is_not_asked_again() -> None:
    describer = Telling()
    metrics = Metrics()
    async with stub_of(describer, replace(ROOM, most=1), metrics) as stub:
        items = [item(seed) for seed in range(4)]
        calls = iter([None, None, InternalError("for the moment")])

        def sometimes() -> None:
            if (error := next(calls, None)) is not None:
                raise error

        describer.before = sometimes
        with pytest.raises(InternalError):
            await describe(stub, *items)
        before = {told for (told,) in describer.batches[:2]}
        describer.batches.clear()
        lines = await describe(stub, *items)
        assert before <= set(lines)
        assert not before & {told for (told,) in describer.batches}
        assert await describe(stub, *reversed(items)) == lines[::-1]
        # The same picture by another mask, or asked in another way, is another question.
        await describe(stub, item(0, upper_half(24, 16)), item(0, np.ones((16, 24), np.bool_)))
        assert await summarize(stub, item(0)) != lines[0]
    assert len({told for (told,) in describer.batches}) == len(describer.batches)
    assert b'maia_cache_hits_total{model="telling"} 6.0' in generate_latest(metrics.registry)


async def test_the_same_question_of_several_callers_is_asked_once() -> None:
    describer = Telling()
    describer.free.clear()
    async with stub_of(describer) as stub:
        first = describe(stub, item(0))
        await until_begun(describer)
        callers = [describe(stub, item(1), session=str(number)) for number in range(3)]
        await asyncio.sleep(0.2)
        describer.free.set()
        await first
        lines = {line for caller in callers for line in await caller}
    (line,) = lines
    assert sum(batch.count(line) for batch in describer.batches) == 1


async def test_too_much_work_is_told_when_to_come_back() -> None:
    describer = Telling()
    describer.free.clear()
    async with stub_of(describer, BatchLimits(most=1, waiting=4)) as stub:
        calls = [describe(stub, item(seed), session=str(seed)) for seed in range(12)]
        # One runs, one is prepared, four wait.
        while sum(call.done() for call in calls) < 6:
            await asyncio.wait([call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED)
        describer.free.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, OverloadedError)]
    assert len(refused) >= 6
    assert all(error.reason == "QUEUE_FULL" and error.retry_after_s > 0 for error in refused)
    assert all(isinstance(outcome, list) for outcome in outcomes if outcome not in refused)
    assert sum(isinstance(outcome, list) for outcome in outcomes) >= 4


async def test_work_of_a_caller_who_hung_up_is_told_so() -> None:
    describer = Waiting()
    async with stub_of(describer, BATCHES) as stub:
        call = describe(stub, item(1))
        await until_begun(describer)
        assert not describer.left.is_set()
        call.cancel()
        assert await asyncio.to_thread(describer.left.wait, 10)
        await asyncio.gather(call, return_exceptions=True)


async def test_work_whose_deadline_passed_is_told_so() -> None:
    describer = Waiting()
    async with stub_of(describer, BATCHES) as stub:
        request = description_pb2.DescribeImagesRequest(items=[item(1)])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.DescribeImages(request, timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await asyncio.to_thread(describer.left.wait, 10)
