from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from maia.services._runtime.fairness import Principal
from maia.services._runtime.jobs import Abandoned, BatchLimits, Job, Key
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.queue import BatchQueue
from maia.wire.deadline import Deadline
from maia.wire.errors import (
    CancelledError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)

KEY = Key("model")
ALICE, BOB, CAROL = Principal("alice"), Principal("bob"), Principal("carol")


@dataclass
class Doubler:
    """A model that doubles, and notes its batches; it runs only when it is let."""

    batches: list[list[int]] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    before: Callable[[Sequence[int]], None] = lambda _: None
    prepared: list[int] = field(default_factory=list)

    def prepare(self, item: int) -> int:
        self.prepared.append(item)
        if item < 0:
            raise InvalidRequestError(f"{item} is negative")
        return item

    def run(self, key: Key, items: Sequence[int], abandoned: Abandoned) -> list[int]:
        assert self.free.wait(10)
        self.keys.append(key)
        self.batches.append(list(items))
        self.before(items)
        return [2 * item for item in items]


@asynccontextmanager
async def queue_of(
    model: Doubler, limits: BatchLimits | None = None, metrics: Metrics | None = None
) -> AsyncIterator[BatchQueue[int, int, int]]:
    job = Job(model.prepare, model.run, "doubling")
    with ModelThread("test") as thread:
        try:
            async with BatchQueue(job, thread, limits, metrics) as queue:
                yield queue
        finally:
            model.free.set()


def ask(
    queue: BatchQueue[int, int, int],
    *items: int,
    principal: Principal = ALICE,
    within_s: float = 30,
    key: Key = KEY,
    weights: Sequence[float] = (),
) -> asyncio.Task[list[int]]:
    terms = {"principal": principal, "deadline": Deadline.after(within_s)}
    return asyncio.create_task(queue.submit(items, [key] * len(items), weights=weights, **terms))  # type: ignore[arg-type]


async def held(queue: BatchQueue[int, int, int], model: Doubler) -> asyncio.Task[list[int]]:
    """Occupy the model with an item of somebody else."""
    model.free.clear()
    first = ask(queue, 0, principal=Principal("first"))
    while not model.prepared:  # noqa: ASYNC110  a thread says so
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    return first


async def test_an_item_is_answered_and_idle_time_costs_nothing() -> None:
    model = Doubler()
    model.free.set()
    async with queue_of(model) as queue:
        assert await ask(queue, 1, 2, 3) == [2, 4, 6]
        await asyncio.sleep(0.02)
        assert await ask(queue, 4) == [8]
    assert model.batches == [[1, 2, 3], [4]]


async def test_a_batch_takes_from_all_in_turn_whoever_came_first() -> None:
    model = Doubler()
    async with queue_of(model, BatchLimits(most=6)) as queue:
        first = await held(queue, model)
        asked = [
            ask(queue, 10, 11, principal=ALICE),
            ask(queue, 20, principal=BOB),
            ask(queue, 30, 31, principal=CAROL),
            ask(queue, 12, principal=ALICE),
        ]
        await asyncio.sleep(0.01)
        model.free.set()
        assert [await one for one in asked] == [[20, 22], [40], [60, 62], [24]]
        await first
    assert model.batches == [[0], [10, 20, 30, 11, 31, 12]]


@pytest.mark.parametrize("most", [4, 8, 16])
async def test_a_greedy_principal_does_not_hold_up_the_others(most: int) -> None:
    model = Doubler()
    async with queue_of(model, BatchLimits(most=most)) as queue:
        first = await held(queue, model)
        greedy = ask(queue, *range(100, 300))
        await asyncio.sleep(0.01)
        others = [ask(queue, 1000 + i, principal=Principal(f"other {i}")) for i in range(15)]
        await asyncio.sleep(0.01)
        model.free.set()
        await asyncio.gather(first, greedy, *others)
    last = max(number for number, batch in enumerate(model.batches) for item in batch if item >= 1000)
    # The one that runs, and one formed ahead, come before the batches that all sixteen share.
    assert last <= 1 + -(-16 // most)


async def test_items_of_other_keys_are_not_mixed_in() -> None:
    model = Doubler()
    other = Key("model", "other size")
    async with queue_of(model) as queue:
        first = await held(queue, model)
        asked = [ask(queue, 1), ask(queue, 2, key=other, principal=BOB), ask(queue, 3, principal=CAROL)]
        await asyncio.sleep(0.01)
        model.free.set()
        await asyncio.gather(first, *asked)
    assert list(zip(model.keys, model.batches, strict=True)) == [(KEY, [0]), (KEY, [1, 3]), (other, [2])]


async def test_heavy_items_share_no_batch_and_one_too_heavy_runs_alone() -> None:
    model = Doubler()
    async with queue_of(model, BatchLimits(most_weight=10)) as queue:
        first = await held(queue, model)
        asked = ask(queue, 1, 2, 3, 4, weights=[4, 6, 1, 99])
        await asyncio.sleep(0.01)
        model.free.set()
        await asyncio.gather(first, asked)
    assert model.batches == [[0], [1, 2], [3], [4]]


async def test_who_hung_up_or_is_too_late_is_not_run() -> None:
    model = Doubler()
    async with queue_of(model) as queue:
        first = await held(queue, model)
        late, gone, good = ask(queue, 1, within_s=0.03), ask(queue, 2, principal=BOB), ask(queue, 3, principal=CAROL)
        await asyncio.sleep(0.05)
        gone.cancel()
        model.free.set()
        assert await good == [6]
        with pytest.raises(DeadlineExceededError, match="before doubling"):
            await late
        await first
        assert queue._waiting.total() == 0
        assert queue._order.longest() == 0
    assert model.batches == [[0], [3]]


async def test_what_is_prepared_ahead_and_then_too_late_is_not_run() -> None:
    model = Doubler()
    async with queue_of(model, BatchLimits(most=1)) as queue:
        first = await held(queue, model)
        late = ask(queue, 7, within_s=0.1)
        while 7 not in model.prepared:  # noqa: ASYNC110  a thread says so
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.12)
        model.free.set()
        with pytest.raises(DeadlineExceededError):
            await late
        await first
    assert model.batches == [[0]]


async def test_what_cannot_be_prepared_fails_alone() -> None:
    model = Doubler()
    async with queue_of(model) as queue:
        first = await held(queue, model)
        bad, good = ask(queue, 5, -1, 6), ask(queue, 7, principal=BOB)
        await asyncio.sleep(0.01)
        model.free.set()
        with pytest.raises(InvalidRequestError, match="-1 is negative"):
            await bad
        assert await good == [14]
        await first


async def test_what_the_model_cannot_do_fails_alone() -> None:
    def poisoned(items: Sequence[int]) -> None:
        if 13 in items:
            raise RuntimeError("poison")

    model = Doubler(before=poisoned)
    async with queue_of(model) as queue:
        first = await held(queue, model)
        asked = [ask(queue, item, principal=Principal(str(item))) for item in range(10, 18)]
        await asyncio.sleep(0.01)
        model.free.set()
        found = await asyncio.gather(*asked, return_exceptions=True)
        await first
    assert [str(one) if isinstance(one, Exception) else one for one in found] == [
        [20], [22], [24], "poison", [28], [30], [32], [34],
    ]  # fmt: skip


async def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_smaller() -> None:
    def small(items: Sequence[int]) -> None:
        if len(items) > 3:
            raise RuntimeError("CUDA out of memory")

    model = Doubler(before=small)
    async with queue_of(model, BatchLimits(most=8)) as queue:
        first = await held(queue, model)
        asked = ask(queue, *range(1, 9))
        await asyncio.sleep(0.01)
        model.free.set()
        assert await asked == [2 * item for item in range(1, 9)]
        await first
        model.batches.clear()
        assert await ask(queue, *range(8)) == [2 * item for item in range(8)]
    assert max(map(len, model.batches)) <= 2


async def test_batches_grow_again_once_memory_is_there() -> None:
    scarce = True

    def small(items: Sequence[int]) -> None:
        if scarce and len(items) > 1:
            raise MemoryError

    model = Doubler(before=small)
    model.free.set()
    async with queue_of(model, BatchLimits(most=2)) as queue:
        await ask(queue, 1, 2)
        scarce = False
        model.batches.clear()
        await ask(queue, *range(70))
    sizes = [len(batch) for batch in model.batches[:-1]]  # the last takes what is left
    assert sizes == sorted(sizes)
    assert 25 < sizes.count(1) < 40


async def test_a_half_is_not_run_for_who_is_too_late() -> None:
    def slow(items: Sequence[int]) -> None:
        if len(items) > 1:
            threading.Event().wait(0.3)
            raise RuntimeError("poison")

    model = Doubler(before=slow)
    async with queue_of(model) as queue:
        first = await held(queue, model)
        late = ask(queue, 1, 2, within_s=0.2)
        good = ask(queue, 3, principal=BOB)
        await asyncio.sleep(0.01)
        model.free.set()
        with pytest.raises(DeadlineExceededError):
            await late
        assert await good == [6]
        await first
    assert model.batches[:2] == [[0], [1, 3, 2]]
    assert {item for batch in model.batches[2:] for item in batch} == {3}


async def test_a_stop_iteration_is_a_failure_like_any_other() -> None:
    """A future takes none; it would leave whoever waits waiting."""
    model = Doubler()

    def never(item: int) -> int:
        if item < 2:
            raise StopIteration
        return item

    def stop(_key: Key, items: Sequence[int], _abandoned: Abandoned) -> list[int]:
        if 3 in items:
            raise StopIteration
        return list(items)

    with ModelThread("test") as thread:
        async with BatchQueue[int, int, int](Job(never, stop, "doubling"), thread) as queue:
            for item in (1, 3):
                with pytest.raises(RuntimeError, match="StopIteration"):
                    await ask(queue, item)
            assert await ask(queue, 2) == [2]
    assert not model.batches


async def test_what_several_ask_for_is_run_once_and_filled_up_to_a_bucket_all_the_same() -> None:
    model = Doubler()
    job = Job(model.prepare, model.run, "doubling", same=lambda item: item)
    with ModelThread("test") as thread:
        async with BatchQueue(job, thread, BatchLimits(most=8, buckets=(4, 8))) as queue:
            first = ask(queue, 9)
            await asyncio.sleep(0.05)
            asked = [ask(queue, 1, 1, principal=ALICE), ask(queue, 1, 2, principal=BOB), ask(queue, 3)]
            await asyncio.sleep(0.05)
            model.free.set()
            assert await asyncio.gather(*asked) == [[2, 2], [2, 4], [6]]
            await first
    assert len(model.batches) == 2
    assert len(model.batches[1]) == 4
    assert set(model.batches[1]) == {1, 2, 3}


async def test_what_several_ask_for_runs_on_though_the_first_hangs_up() -> None:
    model = Doubler()
    job = Job(model.prepare, model.run, "doubling", same=lambda item: item % 10)
    with ModelThread("test") as thread:
        async with BatchQueue(job, thread, BatchLimits(most=2)) as queue:
            first = ask(queue, 90)
            await asyncio.sleep(0.05)
            gone, stays = ask(queue, 1), ask(queue, 1, principal=BOB)
            await asyncio.sleep(0.05)
            gone.cancel()
            await asyncio.sleep(0)
            model.free.set()
            assert await stays == [2]
            await first


async def test_the_moment_given_to_others_ends_once_there_is_enough_for_a_batch() -> None:
    model = Doubler()
    model.free.set()
    async with asyncio.timeout(10), queue_of(model, BatchLimits(most=2, delay_s=3600)) as queue:
        first = ask(queue, 1)
        await asyncio.sleep(0.05)
        assert not first.done()
        assert list(await asyncio.gather(first, ask(queue, 2))) == [[2], [4]]


async def test_each_who_asked_for_what_failed_gets_the_failure_of_their_own_item() -> None:
    model = Doubler()

    def refuse(items: Sequence[int]) -> None:
        for item in items:
            if item % 10 == 1:
                raise InvalidRequestError(f"{item} is refused", metadata={"index": "0"})

    model.before = refuse
    model.free.set()
    job = Job(model.prepare, model.run, "doubling", same=lambda item: item % 10)
    with ModelThread("test") as thread:
        async with BatchQueue(job, thread, BatchLimits(most=8, delay_s=0.05)) as queue:
            asked = [ask(queue, 1), ask(queue, 11, principal=BOB), ask(queue, 2, principal=CAROL)]
            found = await asyncio.gather(*asked, return_exceptions=True)
    assert [str(one) for one in found] == ["1 is refused", "11 is refused", "[4]"]


async def test_what_fails_whoever_asked_is_run_once() -> None:
    model = Doubler()

    def fail(items: Sequence[int]) -> None:
        if 1 in items:
            raise UnavailableError("the vendor is down")

    model.before = fail
    job = Job(model.prepare, model.run, "doubling", same=lambda item: item)
    with ModelThread("test") as thread:
        async with BatchQueue(job, thread, BatchLimits(most=8)) as queue:
            first = ask(queue, 9)
            await asyncio.sleep(0.05)
            asked = [ask(queue, 1, principal=Principal(f"{number}")) for number in range(6)]
            await asyncio.sleep(0.05)
            model.free.set()
            found = await asyncio.gather(*asked, return_exceptions=True)
            await first
    assert [type(one) for one in found] == [UnavailableError] * 6
    assert model.batches == [[9], [1]]


async def test_a_queue_that_closes_fails_what_was_formed_ahead() -> None:
    model = Doubler()
    with ModelThread("test") as thread:
        async with BatchQueue(Job(model.prepare, model.run, "doubling"), thread, BatchLimits(most=2)) as queue:
            asked = [ask(queue, number) for number in range(6)]
            await asyncio.sleep(0.1)
        closed = asyncio.gather(*asked, return_exceptions=True)
        model.free.set()
        found = await asyncio.wait_for(closed, 5)
    assert [type(one) for one in found] == [UnavailableError] * 6


async def test_what_is_known_is_neither_prepared_nor_run() -> None:
    model = Doubler()
    known: dict[int, int] = {7: 70}

    def run(key: Key, items: Sequence[int], abandoned: Abandoned) -> list[int]:
        results = model.run(key, items, abandoned)
        known.update(zip(items, results, strict=True))
        return results

    job = Job(model.prepare, run, "doubling", recall=known.get)
    with ModelThread("test") as thread:
        async with BatchQueue(job, thread, BatchLimits(most=2)) as queue:
            first = ask(queue, 1, 2)
            await asyncio.sleep(0.05)
            # This batch is prepared while the first runs, which will have found what 1 is.
            again = ask(queue, 1, 3, principal=BOB)
            await asyncio.sleep(0.05)
            model.free.set()
            assert await first == [2, 4]
            assert await again == [2, 6]
            assert await ask(queue, 7) == [70]
    assert model.batches == [[1, 2], [3]]
    assert 7 not in model.prepared


class Panic(BaseException):
    """What a library in Rust raises."""


@pytest.mark.parametrize("error", [SystemExit(3), Panic(3)])
@pytest.mark.parametrize("at", ["prepare", "run"])
async def test_a_model_that_exits_or_panics_fails_and_the_queue_goes_on(at: str, error: BaseException) -> None:
    model = Doubler()
    model.free.set()

    def leave(*items: object) -> None:
        if 3 in items or [3] in items:
            raise error

    def prepare(item: int) -> int:
        if at == "prepare":
            leave(item)
        return model.prepare(item)

    model.before = lambda items: leave(list(items)) if at == "run" else None
    with ModelThread("test") as thread:
        async with BatchQueue(Job(prepare, model.run, "doubling"), thread) as queue:
            with pytest.raises(RuntimeError, match=r"(SystemExit|Panic)\(3\)"):
                await ask(queue, 3)
            assert await ask(queue, 4) == [8]


async def test_a_queue_that_breaks_ends_whoever_entered_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    model = Doubler()

    async def serve() -> list[int]:
        async with queue_of(model) as queue:
            monkeypatch.setattr(BatchQueue, "_take", broken)
            waiting = ask(queue, 1)
            with pytest.raises(ZeroDivisionError):
                await waiting
            await asyncio.sleep(10)
        return []

    with pytest.raises(ZeroDivisionError, match="a fault of ours"):
        await asyncio.create_task(serve())


async def test_nothing_needs_no_room() -> None:
    model = Doubler()
    async with queue_of(model, BatchLimits(most=1, waiting=2)) as queue:
        first = await held(queue, model)
        waiting = ask(queue, 1, 2, 3)
        await asyncio.sleep(0.01)
        assert await ask(queue, principal=BOB) == []
        model.free.set()
        await asyncio.gather(first, waiting)


async def test_a_name_has_one_share_however_many_sessions_it_opens() -> None:
    model = Doubler()
    async with queue_of(model, BatchLimits(most=1, waiting=10)) as queue:
        first = await held(queue, model)
        waiting = ask(queue, 1, 2, 3, 4, 5, principal=Principal("bob", "1"))
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError, match="4 of them yours"):  # one has been prepared ahead
            await ask(queue, 6, 7, principal=Principal("bob", "2"))
        model.free.set()
        await asyncio.gather(first, waiting)


async def test_an_item_that_never_fits_says_so() -> None:
    def never(_: Sequence[int]) -> None:
        raise MemoryError

    model = Doubler(before=never)
    model.free.set()
    async with queue_of(model) as queue:
        with pytest.raises(PreconditionError) as caught:
            await ask(queue, 1)
    assert caught.value.reason == "OUT_OF_MEMORY"


async def test_a_model_that_answers_too_little_is_a_fault_and_the_queue_goes_on() -> None:
    model = Doubler()
    job: Job[int, int, int] = Job(model.prepare, lambda _key, items, _abandoned: list(items)[1:], "doubling")
    with ModelThread("test") as thread:
        async with BatchQueue(job, thread) as queue:
            for _ in range(2):
                with pytest.raises(AssertionError, match="0 results for 1 items"):
                    await ask(queue, 1)


async def test_too_much_is_refused_with_a_time_to_come_back() -> None:
    model = Doubler()
    metrics = Metrics()
    async with queue_of(model, BatchLimits(most=1, waiting=10), metrics) as queue:
        first = await held(queue, model)
        waiting = [ask(queue, 1, 2, 3, principal=ALICE), ask(queue, 4, 5, 6, principal=BOB)]
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError) as caught:
            await ask(queue, *range(6), principal=CAROL)
        assert 0 < caught.value.retry_after_s <= 30
        with pytest.raises(OverloadedError, match="3 of them yours"):
            await ask(queue, 7, 8, 9, principal=BOB)  # there is room, for others
        last = ask(queue, 7, principal=CAROL)
        model.free.set()
        await asyncio.gather(first, last, *waiting)
        assert await ask(queue, *range(50), principal=BOB) == [2 * item for item in range(50)]  # nothing waits
    assert b'maia_queue_refused_total{model="model"} 9.0' in generate_latest(metrics.registry)


async def test_a_batch_is_filled_up_to_a_bucket() -> None:
    model = Doubler()
    model.free.set()
    async with queue_of(model, BatchLimits(buckets=(1, 4, 16))) as queue:
        assert await ask(queue, 1, 2, 3) == [2, 4, 6]
    assert model.batches == [[1, 2, 3, 3]]


async def test_an_idle_model_waits_a_moment_for_others() -> None:
    model = Doubler()
    model.free.set()
    async with queue_of(model, BatchLimits(delay_s=0.05)) as queue:
        first = ask(queue, 1)
        await asyncio.sleep(0.01)
        second = ask(queue, 2, principal=BOB)
        await asyncio.gather(first, second)
    assert model.batches == [[1, 2]]


async def test_a_long_run_learns_that_nobody_waits_any_more() -> None:
    seen: list[bool] = []
    begun = threading.Event()

    def run(_key: Key, items: Sequence[int], abandoned: Abandoned) -> list[int]:
        begun.set()
        for _ in range(500):
            seen.append(abandoned())
            if seen[-1]:
                raise CancelledError("nobody waits")
            threading.Event().wait(0.01)
        return list(items)

    with ModelThread("test") as thread:
        async with BatchQueue[int, int, int](Job(lambda item: item, run, "drawing"), thread) as queue:
            one, two = ask(queue, 1), ask(queue, 2, principal=BOB)
            await asyncio.to_thread(begun.wait, 10)
            one.cancel()
            await asyncio.sleep(0.05)
            assert not any(seen)
            two.cancel()
            await asyncio.sleep(0.1)
            assert seen[-1]


async def test_a_queue_that_closes_fails_what_waits() -> None:
    model = Doubler()
    async with queue_of(model, BatchLimits(most=1)) as queue:
        first = await held(queue, model)
        waiting = ask(queue, 1, 2, 3)
        await asyncio.sleep(0.01)
    for task in (first, waiting):
        with pytest.raises(UnavailableError, match="stopping"):
            await task


async def test_metrics_tell_what_was_run() -> None:
    model, metrics = Doubler(), Metrics()
    model.free.set()
    async with queue_of(model, metrics=metrics) as queue:
        await ask(queue, 1, 2, 3)
    told = generate_latest(metrics.registry).decode()
    assert 'maia_batch_items_sum{model="model"} 3.0' in told
    assert 'maia_wait_seconds_count{model="model"} 3.0' in told
    assert 'maia_run_seconds_count{model="model"} 1.0' in told
    assert 'maia_queue_items{model="model"} 0.0' in told


@dataclass(frozen=True)
class Call:
    client: int
    items: int
    key: str
    hangs_up: bool
    in_time: bool


calls = st.builds(
    Call, st.integers(0, 4), st.integers(1, 6), st.sampled_from("xy"), st.booleans(), st.booleans()
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(calls, max_size=25), st.integers(1, 7), st.sets(st.integers(0, 200)))
def test_no_item_is_lost_doubled_answered_to_another_or_run_too_late(
    asked: list[Call], most: int, poison: set[int]
) -> None:
    asyncio.run(_drive(asked, most, poison))


async def _drive(asked: list[Call], most: int, poison: set[int]) -> None:
    ran: list[int] = []
    numbers = iter(range(1000))
    items = [[next(numbers) for _ in range(call.items)] for call in asked]
    keys = {item: Key("m", call.key) for call, mine in zip(asked, items, strict=True) for item in mine}

    def run(key: Key, batch: Sequence[int], _abandoned: Abandoned) -> list[int]:
        assert len(batch) <= most
        assert all(keys[item] == key for item in batch)
        if poison & set(batch):
            raise ValueError(str(sorted(batch)))
        ran.extend(batch)
        return [-item for item in batch]

    found = await _answers(Job(lambda item: item, run, "running"), BatchLimits(most=most), asked, items)
    for call, mine, outcome in zip(asked, items, found, strict=True):
        if call.hangs_up or not call.in_time:
            assert isinstance(outcome, asyncio.CancelledError if call.hangs_up else DeadlineExceededError)
            assert not set(mine) & set(ran)
        elif poison & set(mine):
            assert isinstance(outcome, ValueError)
        else:
            assert outcome == [-item for item in mine]
    assert len(set(ran)) == len(ran)


async def _answers(
    job: Job[int, int, int], limits: BatchLimits, asked: list[Call], items: list[list[int]]
) -> list[list[int] | BaseException]:
    """All calls made while the model is busy; those that hang up do so before it is free."""
    release = threading.Event()
    with ModelThread("test") as thread:
        async with BatchQueue(job, thread, limits) as queue:
            blocker = asyncio.create_task(thread.run(lambda: release.wait(10)))
            tasks = [
                ask(
                    queue, *mine, principal=Principal(f"{call.client}"), within_s=30 if call.in_time else -1,
                    key=Key("m", call.key),
                )
                for call, mine in zip(asked, items, strict=True)
            ]  # fmt: skip
            await asyncio.sleep(0)
            for call, task in zip(asked, tasks, strict=True):
                if call.hangs_up:
                    task.cancel()
            await asyncio.sleep(0)
            release.set()
            await blocker
            found = await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.01)
            assert queue._order.longest() == queue._waiting.total() == 0
            return found
