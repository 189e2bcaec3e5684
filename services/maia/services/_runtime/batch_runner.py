"""A batch in the model's thread: run whole if that works, and in halves where it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

from maia.services._runtime.jobs import Batch, BatchLimits, Entry, Job, Key
from maia.services._runtime.memory import is_out_of_memory, release_memory
from maia.wire.errors import CancelledError, DeadlineExceededError, MaiaError, PreconditionError

__all__ = ["BatchRunner", "Failure"]

log = structlog.stdlib.get_logger("maia.queue")

_Item = TypeVar("_Item")
_Ready = TypeVar("_Ready")
_Result = TypeVar("_Result")

_GOOD: Final = 32
"""Batches of the size that memory allows, until a larger one is tried."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands in the place of an item's result."""

    error: Exception


class BatchRunner(Generic[_Item, _Ready, _Result]):
    """Runs batches of one job."""

    def __init__(self, job: Job[_Item, _Ready, _Result], limits: BatchLimits) -> None:
        """Nothing is run yet.

        Args:
            job: What is done.
            limits: How batches are made.
        """
        self._job = job
        self._limits = limits
        self._most: dict[Key, int] = {}
        self._good: Counter[Key] = Counter()

    def most(self, key: Key) -> int:
        """Return how many items of a key a batch may have; fewer than the limit once memory has run out."""
        return min(self._limits.most, self._most.get(key, self._limits.most))

    def too_late(self) -> DeadlineExceededError:
        """Return what becomes of an item that has waited too long."""
        return DeadlineExceededError(f"the caller's deadline passed before {self._job.doing}")

    def run(self, batch: Batch[_Item, _Ready, _Result]) -> list[_Result | Failure]:
        """Return a result or a failure for each of a batch."""
        return self._wanted(batch.entries, batch.ready)

    def _wanted(self, entries: Sequence[Entry[_Item, _Result]], ready: Sequence[_Ready]) -> list[_Result | Failure]:
        """Leave out what nobody waits for any more, and run the rest."""
        found: list[_Result | Failure] = [Failure(self.too_late())] * len(entries)
        wanted = [place for place, entry in enumerate(entries) if not entry.given_up]
        if wanted:
            results = self._whole([entries[place] for place in wanted], [ready[place] for place in wanted])
            for place, result in zip(wanted, results, strict=True):
                found[place] = result
        return found

    def _whole(self, entries: Sequence[Entry[_Item, _Result]], ready: Sequence[_Ready]) -> list[_Result | Failure]:
        """Run a batch; where it fails, its halves."""

        def abandoned() -> bool:
            return all(entry.given_up for entry in entries)

        key = entries[0].key
        filled = self._filled(key, ready)
        try:
            results = self._job.run(key, filled, abandoned)
            if len(results) != len(filled):
                raise AssertionError(f"{len(results)} results for {len(filled)} items")
        except Exception as error:  # noqa: BLE001  whatever a model raises is the failure of what it was given
            return self._halved(entries, ready, error)
        if key in self._most and len(ready) >= self._most[key]:
            self._grow(key)
        return [Failure(one) if isinstance(one, MaiaError) else one for one in results[: len(ready)]]

    def _grow(self, key: Key) -> None:
        """Try larger batches again after many that did fit: what filled the memory may have gone."""
        self._good[key] += 1
        if self._good[key] >= _GOOD:
            del self._good[key]
            self._most[key] *= 2
            if self._most[key] >= self._limits.most:
                del self._most[key]

    def _halved(
        self, entries: Sequence[Entry[_Item, _Result]], ready: Sequence[_Ready], error: Exception
    ) -> list[_Result | Failure]:
        memory = is_out_of_memory(error)
        if memory:
            release_memory()
        if len(ready) == 1 or isinstance(error, CancelledError):  # nobody waits for any of them
            return [Failure(_out_of_memory(error) if memory else error)] * len(ready)
        half = len(ready) // 2
        if memory:
            self._most[entries[0].key] = half
            self._good.pop(entries[0].key, None)
            log.warning("out of memory: smaller batches from now on", batch=len(ready), most=half)
        return [
            *self._wanted(entries[:half], ready[:half]),
            *self._wanted(entries[half:], ready[half:]),
        ]

    def _filled(self, key: Key, ready: Sequence[_Ready]) -> Sequence[_Ready]:
        fitting = (bucket for bucket in self._limits.buckets if len(ready) <= bucket <= self.most(key))
        size = next(fitting, len(ready))
        return [*ready, *[ready[-1]] * (size - len(ready))]


def _out_of_memory(error: Exception) -> PreconditionError:
    return PreconditionError(
        f"one item alone does not fit into the memory of the model's device ({type(error).__name__}); "
        "choose a smaller model, size or precision",
        reason="OUT_OF_MEMORY",
    )
