"""Many units over one lab, some at once: one that fails ends itself, and no other.

Failures that would hit every unit do not burn through a list of thousands. When units in a row, `GIVE_UP_AFTER` and as
many as run at once, have ended with one and the same failure that waiting does not mend, no further unit is begun.
After failures that waiting may mend, the next units wait before they begin, and longer each time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import structlog

from maia.orchestrator.budget import BatchBudget, Spending
from maia.orchestrator.endings import stopped_by
from maia.orchestrator.errors import DISK_FULL, LOCKED, OTHER_RUN, UNWRITABLE, JournalError
from maia.orchestrator.events import Event, Finished, Stopped, UnitName
from maia.orchestrator.journal import FILE_NAME, JournalReader
from maia.orchestrator.pausing import Pause
from maia.orchestrator.run import RunSettings, investigate_unit
from maia.orchestrator.stored import JournalStore, investigate_stored
from maia.orchestrator.wiring import Lab
from maia.wire.errors import MaiaError

log = structlog.stdlib.get_logger("maia.batch")

GIVE_UP_AFTER: Final = 3
"""Least number of units in a row with the same failure after which no other is begun."""

LONGEST_WAIT_S: Final = 300.0
"""Longest wait before a unit begins while one after the other is paused by a failure."""

_FOR_ALL: Final = frozenset({DISK_FULL, UNWRITABLE})  # may pass, but not by itself
_OF_ONE: Final = frozenset({JournalError.default_reason, OTHER_RUN})  # a journal says nothing about the next unit

Investigate = Callable[[UnitName, Callable[[Event], None]], Awaitable[Finished | Stopped]]
"""Investigates one unit and tells its events, as `maia.orchestrator.run.investigate_unit` does."""


class Listener(Protocol):
    """Is told what happens in a batch, in the event loop: what takes long belongs into a thread."""

    def unit_started(self, unit: UnitName) -> None:
        """A unit begins."""
        ...

    def unit_event(self, unit: UnitName, event: Event) -> None:
        """Something was journaled."""
        ...

    async def unit_ended(self, unit: UnitName, ended: Finished | Stopped) -> None:
        """A unit has come to its end, or was stopped.

        Raises:
            MaiaError: The batch cannot go on; running units are interrupted.
        """
        ...

    def unit_left(self, unit: UnitName, why: str) -> None:
        """A unit was left alone, since another run is at it."""
        ...


class Silent:
    """A listener that tells nobody; a base for those that need some of it."""

    def unit_started(self, unit: UnitName) -> None:
        """See `Listener`."""

    def unit_event(self, unit: UnitName, event: Event) -> None:
        """See `Listener`."""

    async def unit_ended(self, unit: UnitName, ended: Finished | Stopped) -> None:
        """See `Listener`."""

    def unit_left(self, unit: UnitName, why: str) -> None:
        """See `Listener`."""


@dataclass(slots=True)
class BatchResult:
    """What became of the units.

    Attributes:
        ended: How those ended that were begun, in the order of their ends.
        left: Why units were left alone that another run is writing.
        not_begun: In the order of the list.
        given_up: Why no further units were begun; empty unless failures or the budget were the cause.
    """

    ended: dict[UnitName, Finished | Stopped] = field(default_factory=dict)
    left: dict[UnitName, str] = field(default_factory=dict)
    not_begun: list[UnitName] = field(default_factory=list)
    given_up: str = ""

    @property
    def concluded(self) -> bool:
        """Whether every unit has come to a conclusion."""
        ends = all(isinstance(end, Finished) and end.how == "concluded" for end in self.ended.values())
        return ends and not self.left and not self.not_begun


async def run_batch(
    units: Sequence[UnitName],
    lab: Lab,
    settings: RunSettings,
    *,
    jobs: int,
    listener: Listener | None = None,
    pause: Pause | None = None,
    store: JournalStore | None = None,
) -> BatchResult:
    """Investigate units.

    Args:
        units: Of subjects that were asked before; one that is named twice runs once.
        lab: What all units share.
        settings: How.
        jobs: How many at once.
        listener: Is told what happens.
        pause: When it is asked for, running units finish their round and no other begins.
        store: Where journals are copied; None for none.

    Raises:
        ValueError: There are fewer jobs than one.
        MaiaError: What the listener raised.
        asyncio.CancelledError: The batch was interrupted; the journals of running units say so.
    """
    pause = pause or Pause()
    for unit in dict.fromkeys(units):
        settings.batch.add(spent_before(settings.folder(unit)))

    def investigate(unit: UnitName, on_event: Callable[[Event], None]) -> Awaitable[Finished | Stopped]:
        if store is not None:
            return investigate_stored(store, unit, lab, settings, on_event, pause=pause)
        return investigate_unit(unit, lab, settings, on_event, pause=pause)

    batch = Batch(investigate, jobs=jobs, listener=listener or Silent(), pause=pause, budget=settings.batch)
    return await batch.run(units)


def spent_before(folder: Path) -> Spending:
    """Return what an unfinished run has spent in a unit's folder."""
    if not (folder / FILE_NAME).exists():
        return Spending()
    try:
        return Spending.of(JournalReader(folder).events)
    except JournalError:
        return Spending()  # whoever goes on with it will say what is wrong


class Batch:
    """What `run_batch` does, whatever investigates a unit.

    Args:
        investigate: Investigates one unit.
        jobs: How many at once.
        listener: Is told what happens.
        pause: Ends it early.
        budget: When it is spent, no further unit begins.
        first_wait_s: Before the next unit, after one was paused by a failure; doubled with each further one.
    """

    def __init__(
        self,
        investigate: Investigate,
        *,
        jobs: int,
        listener: Listener,
        pause: Pause,
        budget: BatchBudget | None = None,
        first_wait_s: float = 1.0,
    ) -> None:
        if jobs < 1:
            raise ValueError(f"{jobs} jobs are too few; take at least 1")
        self._investigate = investigate
        self._jobs = jobs
        self._listener = listener
        self._pause = pause
        self._budget = budget or BatchBudget()
        self._first_wait_s = first_wait_s
        self._waiting: deque[UnitName] = deque()
        self._result = BatchResult()
        self._reason = ""
        self._row = 0
        self._outages = 0

    async def run(self, units: Sequence[UnitName]) -> BatchResult:
        """Run a batch once; arguments, result and errors as of `run_batch`."""
        self._waiting.extend(dict.fromkeys(units))
        workers = [asyncio.create_task(self._work()) for _ in range(min(self._jobs, len(self._waiting)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        self._result.not_begun = list(self._waiting)
        return self._result

    async def _work(self) -> None:
        """Take one unit after the other from the list."""
        while self._waiting and self._may_begin():
            if self._outages:
                await self._pause.wait(self._wait_s())
                if not (self._waiting and self._may_begin()):
                    return
            unit = self._waiting.popleft()
            self._listener.unit_started(unit)
            try:
                ended = await self._ended(unit)
            except JournalError as error:  # of another run's lock
                self._result.left[unit] = error.message
                self._listener.unit_left(unit, error.message)
                continue
            self._result.ended[unit] = ended
            self._learn(ended)
            await self._listener.unit_ended(unit, ended)

    async def _ended(self, unit: UnitName) -> Finished | Stopped:
        """Investigate a unit, whatever it raises being an end of that unit.

        Raises:
            JournalError: LOCKED.
        """
        try:
            return await self._investigate(unit, lambda event: self._listener.unit_event(unit, event))
        except MaiaError as error:
            if error.reason == LOCKED:
                raise
            self._interrupted()
            return stopped_by(error)
        except Exception as error:
            self._interrupted()
            log.exception("a unit ended by a fault that nobody planned for", unit=str(unit))
            return stopped_by(error)

    def _interrupted(self) -> None:
        """Do not let an error, such as a full disk's, take the place of an interruption.

        Raises:
            asyncio.CancelledError: This batch is being interrupted.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError

    def _may_begin(self) -> bool:
        if not self._result.given_up:
            self._result.given_up = self._budget.spent or ""
        return not self._pause.asked and not self._result.given_up

    def _wait_s(self) -> float:
        """How long a unit waits before it begins: units that run at once meet the same outage, which counts as one."""
        waves = (self._outages - 1) // self._jobs
        return min(self._first_wait_s * 2.0 ** min(waves, 20), LONGEST_WAIT_S)

    def _learn(self, ended: Finished | Stopped) -> None:
        """Count failures in a row; any unit that came to its end breaks the row."""
        if isinstance(ended, Finished):
            self._reason, self._row, self._outages = "", 0, 0
        elif self._pause.asked or ended.reason in _OF_ONE:
            return
        elif ended.why == "invalid" or ended.reason in _FOR_ALL:
            self._row = self._row + 1 if ended.reason == self._reason else 1
            self._reason = ended.reason
            # A failure is quick and a finding slow: those that ran beside it must have had their turn.
            if self._row >= max(GIVE_UP_AFTER, self._jobs) and not self._result.given_up:
                self._result.given_up = f"{self._row} units in a row ended with {ended.reason}: {ended.message}"
        else:
            self._outages += 1
