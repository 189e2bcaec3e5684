"""Pictures made to order: from what was kept, or by batches of the queue, kept as soon as they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeAlias, TypeVar

from maia.services._runtime.fairness import Principal
from maia.services._runtime.jobs import Abandoned, BatchLimits, Job, Key
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.queue import BatchQueue
from maia.services._runtime.results import MadePicture, ResultStore
from maia.wire.deadline import Deadline
from maia.wire.errors import MaiaError

__all__ = ["Making", "Order"]

_Raw = TypeVar("_Raw")
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Order(Generic[_Raw]):
    """A picture to make.

    Attributes:
        item: Of what.
        key: What it may share a batch with.
        weight: Against `BatchLimits.most_weight`.
    """

    item: _Raw
    key: Key
    weight: float = 1.0


_Asked: TypeAlias = tuple[str, _Raw]


class Making(Generic[_Raw, _Item]):
    """Makes pictures for callers. An async context manager, as its queue is."""

    def __init__(
        self,
        prepare: Callable[[_Raw], _Item],
        make: Callable[[Sequence[_Item], Abandoned], Sequence[MadePicture | MaiaError]],
        thread: ModelThread,
        results: ResultStore,
        *,
        doing: str,
        limits: BatchLimits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """Nothing runs before the context is entered.

        Args:
            prepare: Of one item, in any thread.
            make: Of one batch, in the model's thread: a picture, or the error of an item that failed alone, for each.
            thread: The model's.
            results: Where pictures are kept.
            doing: For errors: "drawing".
            limits: How batches are made.
            metrics: Are told.
        """
        self._results = results
        self._metrics = metrics or Metrics()

        def prepared(asked: _Asked[_Raw]) -> tuple[str, _Item]:
            return asked[0], prepare(asked[1])

        def run(
            _key: Key, ready: Sequence[tuple[str, _Item]], abandoned: Abandoned
        ) -> Sequence[MadePicture | MaiaError]:
            made = make([item for _, item in ready], abandoned)
            for (name, _), one in zip(ready, made, strict=True):
                if isinstance(one, MadePicture):
                    results.put(name, one)
            return made

        job: Job[_Asked[_Raw], tuple[str, _Item], MadePicture] = Job(
            prepared, run, doing, same=lambda asked: asked[0], recall=lambda asked: results.get(asked[0])
        )
        self._queue = BatchQueue(job, thread, limits, self._metrics)

    async def __aenter__(self) -> Self:
        await self._queue.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._queue.__aexit__(kind, error, trace)

    async def make(
        self, orders: Mapping[str, Order[_Raw]], principal: Principal, deadline: Deadline
    ) -> dict[str, MadePicture]:
        """Return a picture for each order.

        Args:
            orders: By what their results are kept under.
            principal: Who asks.
            deadline: By when.

        Raises:
            OverloadedError: QUEUE_FULL.
            DeadlineExceededError: The deadline passed before all were begun.
            MaiaError: Of the first order that failed; what else was made by then is kept.
        """
        found = await self._results.recall(list(orders))
        missing = {name: order for name, order in orders.items() if name not in found}
        for name, order in orders.items():
            counter = self._metrics.cache_misses if name in missing else self._metrics.cache_hits
            counter.labels(order.key.model).inc()
        made = await self._queue.submit(
            [(name, order.item) for name, order in missing.items()],
            [order.key for order in missing.values()],
            principal=principal,
            deadline=deadline,
            weights=[order.weight for order in missing.values()],
        )
        found.update(zip(missing, made, strict=True))
        return found
