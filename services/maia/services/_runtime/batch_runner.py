"""A batch in the model's thread: run whole if that works, and in halves where it does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

from maia.services._runtime.jobs import BatchLimits, Entry, Job, Key
from maia.services._runtime.memory import is_out_of_memory, release_memory
from maia.wire.errors import CancelledError, DeadlineExceededError, MaiaError, PreconditionError

__all__ = ["BatchRunner", "Failure", "as_failure"]

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


@dataclass(slots=True, eq=False)
class _Share(Generic[_Item, _Ready, _Result]):
    """Entries that one run answers, each as it was prepared; the first is run."""

    entries: list[Entry[_Item, _Result]]
    ready: list[_Ready]

    @property
    def given_up(self) -> bool:
        return all(entry.given_up for entry in self.entries)


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

    def run(self, entries: Sequence[Entry[_Item, _Result]], ready: Sequence[_Ready]) -> list[_Result | Failure]:
        """Return a result or a failure for each of a batch; what several ask for is run once.

        Args:
            entries: Of one key.
            ready: Each as it was prepared.
        """
        shares = self._shared(entries, ready)
        results: dict[int, _Result | Failure] = {}
        others: list[_Share[_Item, _Ready, _Result]] = []
        for share, one in zip(shares, self._wanted(shares), strict=True):
            results |= dict.fromkeys(map(id, share.entries), one)
            if isinstance(one, Failure) and _names_a_place(one.error):
                others += [
                    _Share([entry], [own]) for entry, own in zip(share.entries[1:], share.ready[1:], strict=True)
                ]
        if others:
            again = self._wanted(others)
            results |= {id(share.entries[0]): one for share, one in zip(others, again, strict=True)}
        return [results[id(entry)] for entry in entries]

    def _shared(
        self, entries: Sequence[Entry[_Item, _Result]], ready: Sequence[_Ready]
    ) -> list[_Share[_Item, _Ready, _Result]]:
        shares: dict[Hashable, _Share[_Item, _Ready, _Result]] = {}
        for entry, one in zip(entries, ready, strict=True):
            share = shares.setdefault(self._job.same(entry.item), _Share([], []))
            share.entries.append(entry)
            share.ready.append(one)
        return list(shares.values())

    def _wanted(self, shares: Sequence[_Share[_Item, _Ready, _Result]]) -> list[_Result | Failure]:
        """Leave out what nobody waits for any more and what is known by now, and run the rest."""
        found: list[_Result | Failure] = [Failure(self.too_late())] * len(shares)
        wanted = []
        for place, share in enumerate(shares):
            if share.given_up:
                continue
            known = self._job.recall(share.entries[0].item)
            if known is None:
                wanted.append(place)
            else:
                found[place] = known
        if wanted:
            for place, result in zip(wanted, self._whole([shares[place] for place in wanted]), strict=True):
                found[place] = result
        return found

    def _whole(self, shares: Sequence[_Share[_Item, _Ready, _Result]]) -> list[_Result | Failure]:
        """Run a batch; where it fails, its halves."""

        def abandoned() -> bool:
            return all(share.given_up for share in shares)

        key = shares[0].entries[0].key
        filled = self._filled(key, [share.ready[0] for share in shares])
        try:
            results = self._job.run(key, filled, abandoned)
            if len(results) != len(filled):
                raise AssertionError(f"{len(results)} results for {len(filled)} items")
        except BaseException as error:  # noqa: BLE001  whatever a model raises, in its thread, fails what it was given
            return self._halved(shares, as_failure(error))
        if key in self._most and len(shares) >= self._most[key]:
            self._grow(key)
        return [Failure(one) if isinstance(one, MaiaError) else one for one in results[: len(shares)]]

    def _grow(self, key: Key) -> None:
        """Try larger batches again after many that did fit: what filled the memory may have gone."""
        self._good[key] += 1
        if self._good[key] >= _GOOD:
            del self._good[key]
            self._most[key] *= 2
            if self._most[key] >= self._limits.most:
                del self._most[key]

    def _halved(self, shares: Sequence[_Share[_Item, _Ready, _Result]], error: Exception) -> list[_Result | Failure]:
        memory = is_out_of_memory(error)
        if memory:
            release_memory()
        if isinstance(error, CancelledError):  # nobody waits for any of them, or a deadline is about to pass
            return [Failure(self.too_late())] * len(shares)
        if len(shares) == 1:
            return [Failure(_out_of_memory(error) if memory else error)] * len(shares)
        half = len(shares) // 2
        if memory:
            key = shares[0].entries[0].key
            self._most[key] = half
            self._good.pop(key, None)
            log.warning("out of memory: smaller batches from now on", batch=len(shares), most=half)
        return [*self._wanted(shares[:half]), *self._wanted(shares[half:])]

    def _filled(self, key: Key, ready: Sequence[_Ready]) -> Sequence[_Ready]:
        fitting = (bucket for bucket in self._limits.buckets if len(ready) <= bucket <= self.most(key))
        size = next(fitting, len(ready))
        return [*ready, *[ready[-1]] * (size - len(ready))]


def _names_a_place(error: Exception) -> bool:
    """Whether an error tells the place of an item in its caller's request, which another caller's has elsewhere."""
    return isinstance(error, MaiaError) and "index" in error.metadata


def as_failure(error: BaseException) -> Exception:
    """Return what a caller is told of an error. A user's own network may ask its process to exit; it is not to."""
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


def _out_of_memory(error: Exception) -> PreconditionError:
    return PreconditionError(
        f"one item alone does not fit into the memory of the model's device ({type(error).__name__}); "
        "choose a smaller model, size or precision",
        reason="OUT_OF_MEMORY",
    )
