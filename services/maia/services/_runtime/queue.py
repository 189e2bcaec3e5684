"""The queue in front of a model: batches of what many callers ask for, fairly.

    submit: admitted or refused → waits → taken into a batch, fairly → prepared, in threads → run, in the model's thread

While a batch runs, the next is formed and prepared if enough waits to fill it. Who hangs up or is past its deadline is
dropped when a batch forms, and once more before it runs. An item that cannot be prepared fails alone; so does one that
fails in the model, which is found by halving its batch. A batch that does not fit into memory is halved and run again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from maia.services._runtime.batch_runner import BatchRunner, Failure, as_failure
from maia.services._runtime.fairness import FairOrder, Principal
from maia.services._runtime.jobs import Batch, BatchLimits, Entry, Job, Key
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.wire import tracing
from maia.wire.deadline import Deadline
from maia.wire.errors import OverloadedError, UnavailableError

__all__ = ["BatchQueue"]

_Item = TypeVar("_Item")
_Ready = TypeVar("_Ready")
_Result = TypeVar("_Result")

_LONGEST_WAIT_S: Final = 30.0
_SHORTEST_WAIT_S: Final = 0.05
_PREPARERS: Final = 8


@dataclass(frozen=True, slots=True)
class _Known(Generic[_Result]):
    """Stands in the place of an item that need not be run."""

    result: _Result


class BatchQueue(Generic[_Item, _Ready, _Result]):
    """Batches what callers submit. An async context manager; leaving it fails what waits."""

    def __init__(
        self,
        job: Job[_Item, _Ready, _Result],
        thread: ModelThread,
        limits: BatchLimits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Nothing runs before the context is entered.

        Args:
            job: What is done.
            thread: The model's, which others may use in between.
            limits: How batches are made.
            metrics: Are told.
        """
        self._job = job
        self._thread = thread
        self._limits = limits or BatchLimits()
        self._runner = BatchRunner(job, self._limits)
        self._metrics = metrics or Metrics()
        self._order: FairOrder[Entry[_Item, _Result]] = FairOrder()
        self._waiting: Counter[str] = Counter()
        self._held: Counter[str] = Counter()
        self._arrived = asyncio.Event()
        self._seconds_each = 0.1
        self._pool = ThreadPoolExecutor(min(_PREPARERS, os.cpu_count() or 1), thread_name_prefix="prepare")
        self._driver: asyncio.Task[None] | None = None
        self._owner: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        self._driver = asyncio.create_task(self._drive())
        self._driver.add_done_callback(self._ended)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._driver is not None
        self._owner = None
        failed = self._driver.done()
        self._driver.cancel()
        await asyncio.wait([self._driver])
        self._pool.shutdown(wait=False, cancel_futures=True)
        if failed:
            self._driver.result()

    def _ended(self, driver: asyncio.Task[None]) -> None:
        """Nobody forms batches any more: nobody may wait for one."""
        error = _closing() if driver.cancelled() else driver.exception() or _closing()
        while (taken := self._order.take()) is not None:
            taken[1].fail(error)
        if self._owner is not None:  # a fault: the server shall end, instead of being healthy and answering nobody
            self._owner.cancel()

    async def submit(
        self,
        items: Sequence[_Item],
        keys: Sequence[Key],
        *,
        principal: Principal,
        deadline: Deadline,
        weights: Sequence[float] = (),
    ) -> list[_Result]:
        """Have items done; in batches with others' of the same key, each as if it were alone.

        Args:
            items: Of one request.
            keys: One for each: what it may share a batch with.
            principal: Who asks.
            deadline: By when the results are wanted.
            weights: Against `BatchLimits.most_weight`; 1 each if empty.

        Returns:
            One for each item, in order.

        Raises:
            OverloadedError: Too much waits; nothing of this request does.
            DeadlineExceededError: The deadline passed before everything was begun.
            Exception: What the job raised for an item; the others of the request are dropped.
        """
        if not items:
            return []
        if self._driver is None or self._driver.done():
            raise _closing()
        self._admit(principal, keys)
        loop = asyncio.get_running_loop()
        entries = [
            Entry(item, key, principal, deadline, weight, loop.create_future())
            for item, key, weight in zip(items, keys, weights or [1.0] * len(items), strict=True)
        ]
        for entry in entries:
            self._order.add(principal, entry.key, entry)
            self._count(entry, 1)
        self._arrived.set()
        try:
            return list(await asyncio.gather(*(entry.result for entry in entries)))
        finally:
            for entry in entries:
                entry.result.cancel()
                if self._order.discard(principal, entry.key, entry):
                    self._count(entry, -1)

    def _admit(self, principal: Principal, keys: Sequence[Key]) -> None:
        waiting, own = self._waiting.total(), self._held[_holder(principal)]
        if (not waiting or waiting + len(keys) <= self._limits.waiting) and (
            not own or own + len(keys) <= self._limits.waiting // 2  # so that there is always room for others
        ):
            return
        wait_s = min(max(waiting * self._seconds_each, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)
        for key in keys:
            self._metrics.refused.labels(key.model).inc()
        raise OverloadedError(
            f"{waiting} items wait already, {own} of them yours, and {len(keys)} more would be over "
            f"{self._limits.waiting}, or {self._limits.waiting // 2} of your own; ask again in {wait_s:.1f} s",
            retry_after_s=wait_s,
        )

    def _count(self, entry: Entry[_Item, _Result], change: int) -> None:
        model = entry.key.model
        self._waiting[model] += change
        self._metrics.waiting.labels(model).set(self._waiting[model])
        holder = _holder(entry.principal)
        self._held[holder] += change
        if not self._held[holder]:
            del self._held[holder]

    # The one task that forms batches

    async def _drive(self) -> None:
        following: asyncio.Task[Batch[_Item, _Ready, _Result]] | None = None
        running: asyncio.Task[None] | None = None
        try:
            while True:
                if following is None:
                    await self._arrived.wait()
                    await self._linger()
                    following = asyncio.create_task(self._form(idle=True))
                batch, following = await following, None
                running = asyncio.create_task(self._run(batch))
                while not running.done():
                    if following is None and self._order.longest() >= self._limits.most:
                        following = asyncio.create_task(self._form(idle=False))
                    self._arrived.clear()
                    arrival = asyncio.ensure_future(self._arrived.wait())
                    await asyncio.wait([running, arrival], return_when=asyncio.FIRST_COMPLETED)
                    arrival.cancel()
                if self._waiting.total():
                    self._arrived.set()
        finally:
            ended = [task for task in (following, running) if task is not None]
            for task in ended:
                task.cancel()
            if ended:
                await asyncio.wait(ended)
            # A batch that was formed, and of which nobody has heard since.
            if following is not None and not following.cancelled() and following.exception() is None:
                for entry in following.result().entries:
                    entry.fail(_closing())

    async def _linger(self) -> None:
        """Give others a moment to come along, until there is enough for a batch."""
        if not self._limits.delay_s:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.delay_s):
                while self._order.longest() < self._limits.most:
                    self._arrived.clear()
                    await self._arrived.wait()

    async def _form(self, *, idle: bool) -> Batch[_Item, _Ready, _Result]:
        """Take a batch and prepare it; what cannot be prepared fails and is left out."""
        entries = self._take()
        if idle and len(entries) == 1:  # the model's thread does that as well, without a hop to another one and back
            return Batch(entries, None)
        try:
            good = await self._prepared(entries)
        except BaseException:  # the queue is closing
            for entry in entries:
                entry.fail(_closing())
            raise
        return Batch([entry for entry, _ in good], [ready for _, ready in good])

    def _take(self) -> list[Entry[_Item, _Result]]:
        """Take entries of one key in their turn, without those that nobody waits for."""
        entries: list[Entry[_Item, _Result]] = []
        key: Key | None = None
        weight = 0.0
        most = self._limits.most
        while len(entries) < most:
            entry = self._order.peek(key)
            if entry is None or (entries and weight + entry.weight > self._limits.most_weight):
                break
            self._order.take(entry.key)
            self._count(entry, -1)
            if entry.late:
                entry.fail(self._runner.too_late())
            if entry.result.done():
                continue
            key, weight = entry.key, weight + entry.weight
            most = self._runner.most(key)
            entries.append(entry)
        if not self._waiting.total():
            self._arrived.clear()
        return entries

    async def _prepared(self, entries: Sequence[Entry[_Item, _Result]]) -> list[tuple[Entry[_Item, _Result], _Ready]]:
        loop = asyncio.get_running_loop()

        outcomes = await asyncio.gather(*(loop.run_in_executor(self._pool, self._prepare, entry) for entry in entries))
        good = []
        for entry, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, Failure):
                entry.fail(outcome.error)
            elif isinstance(outcome, _Known):
                entry.succeed(outcome.result)
            else:
                good.append((entry, outcome))
        return good

    def _prepare(self, entry: Entry[_Item, _Result]) -> _Ready | Failure | _Known[_Result]:
        try:
            if entry.given_up:
                return Failure(self._runner.too_late())
            known = self._job.recall(entry.item)
            return self._job.prepare(entry.item) if known is None else _Known(known)
        except BaseException as error:  # noqa: BLE001  whatever it raises, in a thread, is the failure of this item
            return Failure(as_failure(error))

    # A batch

    async def _run(self, batch: Batch[_Item, _Ready, _Result]) -> None:
        entries = batch.entries
        if not entries:
            return
        try:
            begun, results = await self._thread.run(lambda: self._begun(batch))
        except BaseException as error:
            for entry in entries:
                entry.fail(error if isinstance(error, Exception) else _closing())
            if not isinstance(error, Exception):
                raise
            return
        took = time.monotonic() - begun
        self._seconds_each += 0.2 * (took / len(entries) - self._seconds_each)
        model = entries[0].key.model
        self._metrics.batch_size.labels(model).observe(len(entries))
        self._metrics.run_s.labels(model).observe(took)
        _trace(entries, begun, took)
        for entry, result in zip(entries, results, strict=True):
            self._metrics.wait_s.labels(model).observe(begun - entry.since)
            if isinstance(result, Failure):
                entry.fail(result.error)
            else:
                entry.succeed(result)

    def _begun(self, batch: Batch[_Item, _Ready, _Result]) -> tuple[float, Sequence[_Result | Failure]]:
        """Run a batch, in the model's thread; return when that began, and what came of each entry."""
        begun, entries = time.monotonic(), batch.entries
        if batch.ready is not None:
            return begun, self._runner.run(entries, batch.ready)
        outcome = self._prepare(entries[0])
        if isinstance(outcome, _Known):
            return begun, [outcome.result]
        return begun, [outcome] if isinstance(outcome, Failure) else self._runner.run(entries, [outcome])


def _trace(entries: Sequence[Entry[Any, Any]], begun: float, took: float) -> None:
    """Show each call whose items were in a batch that batch, and how long the first of them had waited for it."""
    calls = {id(entry.trace): entry for entry in reversed(entries) if entry.trace is not None}
    for entry in calls.values():
        # One span, not two: each costs a tenth of a millisecond, with its way to the collector.
        about: dict[str, tracing.Value] = {"maia.model": entry.key.model, "maia.batch": len(entries)}
        about["maia.wait_ms"] = round((begun - entry.since) * 1e3, 3)
        tracing.past("batch", entry.trace, begun, begun + took, about)


def _holder(principal: Principal) -> str:
    """Whose share of the queue an item takes: a name's, or a session's where nobody has to say who it is."""
    return f"name {principal.name}" if principal.name else f"session {principal.session}"


def _closing() -> UnavailableError:
    return UnavailableError("the server is stopping")
