"""Questions in, lines of text out: by batches of the queue, across callers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from maia.description.v1 import description_pb2
from maia.services._runtime.fairness import Principal
from maia.services._runtime.jobs import Abandoned, Job, Key
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.queue import BatchQueue
from maia.services._runtime.requests import picture_sizes
from maia.services.description.model import Describer, Question, Task, View
from maia.services.description.remembered import Remembered
from maia.wire.deadline import Deadline
from maia.wire.errors import InvalidRequestError, MaiaError
from maia.wire.maps import mask_from_proto
from maia.wire.pictures import decode_picture

__all__ = ["Ask", "AskQueue", "Asking", "ask_job"]


@dataclass(frozen=True, slots=True)
class Ask:
    """A question, as it came.

    Attributes:
        task: What is wanted.
        items: Pictures with their masks.
        index: Place of the first in its request, for errors.
        digest: Of everything that decides the answer.
    """

    task: Task
    items: tuple[description_pb2.DescribeItem, ...]
    index: int
    digest: bytes


_Ready: TypeAlias = tuple[bytes, Question]
AskQueue: TypeAlias = BatchQueue[Ask, _Ready, str]


def ask_job(describer: Describer, remembered: Remembered) -> Job[Ask, _Ready, str]:
    """Return what the queue does.

    Args:
        describer: Answers.
        remembered: Keeps what it answered.
    """

    def prepare(ask: Ask) -> _Ready:
        views = tuple(_view(item, index) for index, item in enumerate(ask.items, ask.index))
        return ask.digest, Question(ask.task, views, ask.index)

    def run(_key: Key, ready: Sequence[_Ready], abandoned: Abandoned) -> list[str | MaiaError]:
        answers = describer.answer([question for _, question in ready], abandoned)
        for (digest, _), answer in zip(ready, answers, strict=True):
            if isinstance(answer, str):
                remembered.put(digest, answer)
        return answers

    return Job(
        prepare,
        run,
        "describing",
        same=lambda ask: ask.digest,
        recall=lambda ask: remembered.get(ask.digest),
    )


class Asking:
    """Asks for callers, through one queue."""

    def __init__(self, describer: Describer, queue: AskQueue, remembered: Remembered, metrics: Metrics) -> None:
        """Nothing is asked yet.

        Args:
            describer: As the job's.
            queue: Of the job above.
            remembered: As the job's.
            metrics: Are told of what was remembered.
        """
        self._describer = describer
        self._queue = queue
        self._remembered = remembered
        self._metrics = metrics

    async def ask(
        self,
        task: Task,
        groups: Sequence[Sequence[description_pb2.DescribeItem]],
        principal: Principal,
        deadline: Deadline,
    ) -> list[str]:
        """Return a line for each group of items, in order.

        Args:
            task: What is wanted of each.
            groups: All of a request, in its order: one item each to describe, all in one to summarize.
            principal: Who asks.
            deadline: By when.

        Raises:
            InvalidRequestError: PICTURE_UNREADABLE, PICTURE_TOO_LARGE or MASK_MISMATCHED, metadata "index"; or what
                the describer makes of a picture.
            OverloadedError: QUEUE_FULL.
            DeadlineExceededError: The deadline passed.
        """
        asks, weights = await asyncio.to_thread(_asks, task, groups)
        name = self._describer.info.name
        known = sum(self._remembered.get(ask.digest) is not None for ask in asks)
        self._metrics.cache_hits.labels(name).inc(known)
        self._metrics.cache_misses.labels(name).inc(len(asks) - known)
        return await self._queue.submit(
            asks,
            [Key(name, (task, self._describer.key(task, len(ask.items)))) for ask in asks],
            principal=principal,
            deadline=deadline,
            weights=weights,
        )


def _asks(task: Task, groups: Sequence[Sequence[description_pb2.DescribeItem]]) -> tuple[list[Ask], list[float]]:
    """Each question, and the pixels that it holds decoded."""
    asks: list[Ask] = []
    weights: list[float] = []
    index = 0
    for items in groups:
        sizes = picture_sizes([item.picture for item in items], start=index)
        weights.append(sum(size.pixels for size in sizes))
        asks.append(Ask(task, tuple(items), index, _digest(task, items)))
        index += len(items)
    return asks, weights


def _digest(task: Task, items: Sequence[description_pb2.DescribeItem]) -> bytes:
    """Pictures by their files, with their stated kinds, since a wrong one is refused."""
    whole = hashlib.sha256(task.encode())
    for item in items:
        for part in (item.picture.media_type.encode(), item.picture.data):
            whole.update(hashlib.sha256(part).digest())
        if item.HasField("mask"):
            mask = item.mask
            whole.update(f"mask {mask.height} {mask.width}".encode() + hashlib.sha256(mask.bits).digest())
    return whole.digest()


def _view(item: description_pb2.DescribeItem, index: int) -> View:
    rgb = decode_picture(item.picture, index=index)
    if not item.HasField("mask"):
        return View(rgb, None)
    mask = mask_from_proto(item.mask, index=index)
    if mask.shape != rgb.shape[:2]:
        raise InvalidRequestError(
            f"the mask of picture {index} has {mask.shape[1]} × {mask.shape[0]} pixels, the picture "
            f"{rgb.shape[1]} × {rgb.shape[0]}",
            reason="MASK_MISMATCHED",
            metadata={"index": str(index)},
        )
    return View(rgb, mask)
