"""What is queued, and what is done to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from maia.services._runtime.fairness import Principal
from maia.wire import tracing
from maia.wire.deadline import Deadline
from maia.wire.errors import MaiaError

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["Abandoned", "Batch", "BatchLimits", "Entry", "Job", "Key"]

_Item = TypeVar("_Item")
_Ready = TypeVar("_Ready")
_Result = TypeVar("_Result")

Abandoned = Callable[[], bool]
"""Whether nobody waits for a batch any more; long runs ask it between steps."""


@dataclass(frozen=True, slots=True)
class Key:
    """What items must have in common to share a batch.

    Attributes:
        model: Its name, which metrics go by.
        alike: What else: sizes, steps.
    """

    model: str
    alike: Hashable = None


@dataclass(frozen=True, slots=True)
class Job(Generic[_Item, _Ready, _Result]):
    """What is done to items.

    Attributes:
        prepare: For one item alone, in any thread, many at once; what it raises is that item's failure.
        run: For a batch of one key, in the model's thread; one result for each, in order, or its error.
        doing: For errors: "measuring".
        same: What items with equal results have in common, which are run once if they meet in a batch.
        recall: What is known of an item already, in any thread; asked before it is prepared and before it is run, since
            another may have asked for the same meanwhile.
    """

    prepare: Callable[[_Item], _Ready]
    run: Callable[[Key, Sequence[_Ready], Abandoned], Sequence[_Result | MaiaError]]
    doing: str
    same: Callable[[_Item], Hashable] = id
    recall: Callable[[_Item], _Result | None] = lambda _: None


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How batches are made.

    Attributes:
        most: Items in one batch.
        most_weight: Together, unless a single one has more.
        delay_s: How long an item may wait for others while the model is idle.
        waiting: Items that may wait, at most half of them one principal's; more are refused. What would be too much
            by itself is taken when nothing waits.
        buckets: Sizes that batches are filled up to, with copies of their last item, ascending; empty for none. A
            model that is compiled or tuned for each size anew wants few.
    """

    most: int = 16
    most_weight: float = float("inf")
    delay_s: float = 0.0
    waiting: int = 4096
    buckets: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Entry(Generic[_Item, _Result]):
    """One item that somebody waits for."""

    item: _Item
    key: Key
    principal: Principal
    deadline: Deadline
    weight: float
    result: asyncio.Future[_Result]
    since: float = field(default_factory=time.monotonic)
    trace: Context | None = field(default_factory=tracing.current)

    @property
    def late(self) -> bool:
        return self.deadline.remaining() <= 0

    @property
    def given_up(self) -> bool:
        """Read by the model's thread too."""
        return self.result.done() or self.late

    def succeed(self, result: _Result) -> None:
        if not self.result.done():
            self.result.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self.result.done():
            # A future takes no StopIteration, which would end the coroutine that waits for it.
            self.result.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)
            self.result.exception()  # whoever asked may have gone for another item's failure already


@dataclass(frozen=True, slots=True)
class Batch(Generic[_Item, _Ready, _Result]):
    """Entries of one key, and each as it was prepared; None if that is left to the model's thread."""

    entries: Sequence[Entry[_Item, _Result]]
    ready: Sequence[_Ready] | None
