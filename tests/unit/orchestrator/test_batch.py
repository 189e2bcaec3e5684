"""Many units at once, investigated by functions that end as they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from maia.orchestrator.batch import GIVE_UP_AFTER, Batch, BatchResult, Silent
from maia.orchestrator.budget import BatchBudget, Budget, Spending
from maia.orchestrator.errors import DISK_FULL, LOCKED, JournalError
from maia.orchestrator.events import BackboneReply, BlockOutput, Event, Finished, Stopped, UnitName
from maia.orchestrator.pausing import Pause
from maia.wire.errors import MaiaError, UnavailableError

UNITS = [UnitName("m", "l", index) for index in range(12)]
DONE = Finished(how="concluded", description="d", labels=["x"], rounds=1, tool_calls=0, seconds=0.0)
REFUSED = Stopped("invalid", "BACKBONE_KEY_REFUSED", "the key is refused")
DOWN = Stopped("paused", "SERVER_UNAVAILABLE", "down")

End = Finished | Stopped | Exception


@dataclass
class Laboratory:
    """Ends units as told, each after a few turns of the loop; knows how many ran at once."""

    ends: Callable[[UnitName], End] = lambda _: DONE
    begun: list[UnitName] = field(default_factory=list)
    running: int = 0
    most: int = 0
    interrupted: list[UnitName] = field(default_factory=list)

    async def investigate(self, unit: UnitName, on_event: Callable[[Event], None]) -> Finished | Stopped:
        self.begun.append(unit)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(3):
                on_event(BlockOutput(block=1, text=str(unit)))
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.interrupted.append(unit)
            raise
        finally:
            self.running -= 1
        end = self.ends(unit)
        if isinstance(end, Exception):
            raise end
        return end


@dataclass
class Heard(Silent):
    """Keeps what it was told."""

    events: dict[UnitName, list[Event]] = field(default_factory=dict)
    ended: list[UnitName] = field(default_factory=list)
    left: list[UnitName] = field(default_factory=list)

    def unit_started(self, unit: UnitName) -> None:
        self.events[unit] = []

    def unit_event(self, unit: UnitName, event: Event) -> None:
        self.events[unit].append(event)

    async def unit_ended(self, unit: UnitName, ended: Finished | Stopped) -> None:
        self.ended.append(unit)

    def unit_left(self, unit: UnitName, why: str) -> None:
        self.left.append(unit)


async def run(
    laboratory: Laboratory,
    units: Sequence[UnitName] = UNITS,
    *,
    jobs: int = 3,
    listener: Silent | None = None,
    pause: Pause | None = None,
) -> BatchResult:
    batch = Batch(
        laboratory.investigate,
        jobs=jobs,
        listener=listener or Silent(),
        pause=pause or Pause(),
        first_wait_s=0.0,
    )
    return await batch.run(units)


@pytest.mark.parametrize("jobs", [1, 3, 100])
async def test_every_unit_runs_once_and_as_many_at_once_as_asked(jobs: int) -> None:
    laboratory, heard = Laboratory(), Heard()
    result = await run(laboratory, [*UNITS, *UNITS[:5]], jobs=jobs, listener=heard)
    assert laboratory.begun == UNITS
    assert laboratory.most == min(jobs, len(UNITS))
    assert list(result.ended) == heard.ended
    assert set(heard.ended) == set(UNITS)
    assert all(
        [event.text for event in events if isinstance(event, BlockOutput)] == [str(unit)] * 3
        for unit, events in heard.events.items()
    )
    assert result.concluded


async def test_no_unit_is_no_work() -> None:
    assert (await run(Laboratory(), [])).concluded
    with pytest.raises(ValueError, match="0 jobs"):
        await run(Laboratory(), jobs=0)


@pytest.mark.parametrize("error", [UnavailableError("down"), JournalError("damaged"), ValueError("a fault")])
async def test_whatever_a_unit_raises_ends_that_unit_alone(error: Exception) -> None:
    laboratory = Laboratory(lambda unit: error if unit.index in (2, 7) else DONE)
    result = await run(laboratory)
    assert laboratory.begun == UNITS
    stopped = {unit.index: end for unit, end in result.ended.items() if isinstance(end, Stopped)}
    assert set(stopped) == {2, 7}
    assert str(error) in stopped[2].message
    assert not result.concluded
    assert not result.given_up


async def test_a_unit_that_another_run_writes_is_left_alone() -> None:
    heard = Heard()
    locked = JournalError("is being written by process 7 on host h", reason=LOCKED)
    result = await run(Laboratory(lambda unit: locked if unit.index == 3 else DONE), listener=heard)
    assert list(result.left) == heard.left == [UNITS[3]]
    assert "process 7" in result.left[UNITS[3]]
    assert len(result.ended) == len(UNITS) - 1
    assert not result.concluded


@pytest.mark.parametrize("jobs", [1, 5])
async def test_a_failure_that_would_hit_all_does_not_burn_through_the_list(jobs: int) -> None:
    laboratory = Laboratory(lambda _: REFUSED)
    result = await run(laboratory, jobs=jobs)
    # Those that ran beside the last of the row were begun already.
    assert len(laboratory.begun) <= max(GIVE_UP_AFTER, jobs) + jobs - 1
    assert result.not_begun == UNITS[len(laboratory.begun) :]
    assert "BACKBONE_KEY_REFUSED: the key is refused" in result.given_up


async def test_a_full_disk_ends_the_batch_although_it_may_pass() -> None:
    laboratory = Laboratory(lambda _: JournalError("full", reason=DISK_FULL))
    result = await run(laboratory, jobs=1)
    assert len(laboratory.begun) == GIVE_UP_AFTER
    assert all(isinstance(end, Stopped) and end.why == "paused" for end in result.ended.values())


@pytest.mark.parametrize(
    "ends",
    [
        lambda unit: REFUSED if unit.index % 3 else DONE,
        lambda unit: Stopped("invalid", f"REASON_{unit.index % 2}", ""),
        lambda unit: JournalError("this one is damaged"),
        lambda unit: DOWN,
    ],
    ids=["some succeed", "different reasons", "damaged journals", "an outage"],
)
async def test_failures_that_say_nothing_about_the_next_unit_do_not_end_the_batch(ends: Callable[..., End]) -> None:
    laboratory = Laboratory(ends)
    result = await run(laboratory, jobs=1)
    assert laboratory.begun == UNITS
    assert result.given_up == ""


async def test_units_wait_longer_the_longer_an_outage_lasts_until_one_succeeds() -> None:
    waited: list[float] = []

    class Watched(Pause):
        async def wait(self, at_most_s: float) -> None:
            waited.append(at_most_s)

    laboratory = Laboratory(lambda unit: DONE if unit.index == 4 else DOWN)
    batch = Batch(laboratory.investigate, jobs=1, listener=Silent(), pause=Watched(), first_wait_s=100.0)
    await batch.run(UNITS[:8])
    assert waited == [100.0, 200.0, 300.0, 300.0, 100.0, 200.0]


async def test_a_pause_begins_no_further_unit_and_lets_running_ones_end() -> None:
    pause = Pause()

    class Asking(Heard):
        def unit_started(self, unit: UnitName) -> None:
            super().unit_started(unit)
            if unit == UNITS[4]:
                pause.ask()

    heard = Asking()
    laboratory = Laboratory(lambda unit: Stopped("paused", "PAUSED", "") if pause.asked else DONE)
    result = await run(laboratory, listener=heard, pause=pause)
    assert result.not_begun == UNITS[len(laboratory.begun) :] != []
    assert set(result.ended) == set(laboratory.begun)
    assert laboratory.interrupted == []
    assert not result.concluded


async def test_an_interruption_reaches_every_running_unit_and_no_error_takes_its_place() -> None:
    laboratory, running = Laboratory(), asyncio.Event()

    async def investigate(unit: UnitName, on_event: Callable[[Event], None]) -> Finished | Stopped:
        laboratory.begun.append(unit)
        running.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as error:
            raise JournalError("the disk is full", reason=DISK_FULL) from error
        return DONE

    batch = Batch(investigate, jobs=3, listener=Silent(), pause=Pause())
    task = asyncio.create_task(batch.run(UNITS))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert laboratory.begun == UNITS[:3]


async def test_a_listener_can_end_the_batch() -> None:
    class ServerGone(Silent):
        async def unit_ended(self, unit: UnitName, ended: Finished | Stopped) -> None:
            raise MaiaError("the server has died")

    laboratory = Laboratory()

    async def investigate(unit: UnitName, on_event: Callable[[Event], None]) -> Finished | Stopped:
        if unit != UNITS[0]:
            for _ in range(100):
                await laboratory.investigate(unit, on_event)
        return DONE

    batch = Batch(investigate, jobs=3, listener=ServerGone(), pause=Pause())
    with pytest.raises(MaiaError, match="has died"):
        await batch.run(UNITS)
    assert set(laboratory.interrupted) == {UNITS[1], UNITS[2]}
    assert set(laboratory.begun) == {UNITS[1], UNITS[2]}


async def test_on_an_exhausted_budget_no_further_unit_begins() -> None:
    budget = BatchBudget(Budget(tokens=5))
    paid = BackboneReply(round=1, text="", model="m", seconds=0.0, usage={"input": 1}, usd=0.0)

    def end(unit: UnitName) -> End:
        budget.add(Spending.of([paid]))
        return DONE

    laboratory = Laboratory(end)
    batch = Batch(laboratory.investigate, jobs=1, listener=Silent(), pause=Pause(), budget=budget)
    result = await batch.run(UNITS)
    assert laboratory.begun == UNITS[:5]
    assert result.not_begun == UNITS[5:]
    assert result.given_up == "the batch has used 5 tokens of 5 tokens"
    assert not result.concluded
