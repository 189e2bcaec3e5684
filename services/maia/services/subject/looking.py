"""Pictures in, what layers answered to them out: from the cache, or by batches of the queue."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from maia.services._runtime.fairness import Principal
from maia.services._runtime.jobs import Abandoned, Job, Key
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.queue import BatchQueue
from maia.services._runtime.requests import picture_size
from maia.services.subject.cache import AnswerCache, Seen
from maia.services.subject.model import Input, Selective, Subject
from maia.type.v1 import type_pb2
from maia.wire.deadline import Deadline
from maia.wire.pictures import decode_picture

__all__ = ["Look", "LookQueue", "Looking", "look_job", "revision"]

_SMALL_BYTES: Final = 24 * 1024
"""Files that are looked up on the event loop; a hostile header of this size takes some tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class Look:
    """One picture to look at.

    Attributes:
        subject: Looks.
        layers: Whose answers are wanted.
        picture: As it came.
        digest: Of its file.
        index: Its place in the request, for errors.
    """

    subject: Subject
    layers: tuple[str, ...]
    picture: type_pb2.Picture
    digest: bytes
    index: int


_Ready: TypeAlias = tuple[Look, Input]
LookQueue: TypeAlias = BatchQueue[Look, _Ready, Mapping[str, Seen]]


def look_job(cache: AnswerCache, metrics: Metrics) -> Job[Look, _Ready, Mapping[str, Seen]]:
    """Return what the queue does.

    Args:
        cache: Keeps what was answered.
        metrics: Are told of the cache.
    """

    def prepare(look: Look) -> _Ready:
        return look, look.subject.prepare(decode_picture(look.picture, index=look.index))

    def run(_key: Key, ready: Sequence[_Ready], _abandoned: Abandoned) -> list[Mapping[str, Seen]]:
        subject = ready[0][0].subject
        inputs = [one for _, one in ready]
        layers = list(dict.fromkeys(layer for look, _ in ready for layer in look.layers))
        answers = subject.look(inputs, layers)
        frames = [one.frame for one in inputs]
        cache.put(revision(subject), [look.digest for look, _ in ready], frames, answers)
        metrics.cache_bytes.set(cache.nbytes)
        return [
            {layer: Seen(answers[layer], row, frames[row]) for layer in look.layers}
            for row, (look, _) in enumerate(ready)
        ]

    def recall(look: Look) -> Mapping[str, Seen] | None:
        seen = cache.get(revision(look.subject), look.layers, look.digest)
        return seen if len(seen) == len(look.layers) else None

    return Job(prepare, run, "measuring", same=lambda look: (look.digest, look.layers), recall=recall)


class Looking:
    """Looks at pictures for callers, through one queue."""

    def __init__(self, queue: LookQueue, cache: AnswerCache, metrics: Metrics) -> None:
        """Nothing is looked at yet.

        Args:
            queue: Of the job above.
            cache: As the job's.
            metrics: As the job's.
        """
        self._queue = queue
        self._cache = cache
        self._metrics = metrics

    async def look(
        self,
        subject: Subject,
        layers: Sequence[str],
        pictures: Sequence[type_pb2.Picture],
        principal: Principal,
        deadline: Deadline,
        *,
        start: int = 0,
    ) -> list[Mapping[str, Seen]]:
        """Return what layers answered to each picture, in order.

        Args:
            subject: Looks.
            layers: Whose answers are wanted, or parts of them.
            pictures: Of one request, or a part of it.
            principal: Who asks.
            deadline: By when.
            start: Place of the first picture in the request, for errors.

        Raises:
            InvalidRequestError: PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index".
            OverloadedError: QUEUE_FULL.
            DeadlineExceededError: The deadline passed.
        """
        name, of = subject.info.name, revision(subject)

        def look_up() -> tuple[list[Mapping[str, Seen]], list[Look], list[int]]:
            found: list[Mapping[str, Seen]] = []
            missing, pixels = [], []
            for index, picture in enumerate(pictures, start):
                digest = _digest(picture)
                seen = self._cache.get(of, layers, digest)
                found.append(seen)
                if len(seen) < len(layers):
                    wanted = tuple(layer for layer in layers if layer not in seen)
                    missing.append(Look(subject, wanted, picture, digest, index))
                    pixels.append(picture_size(picture, index).pixels)
            return found, missing, pixels

        # A hop to a thread and back costs more than looking at what is small, and a busy process makes it long.
        small = sum(len(picture.data) for picture in pictures) <= _SMALL_BYTES
        found, missing, pixels = look_up() if small else await asyncio.to_thread(look_up)
        self._metrics.cache_hits.labels(name).inc(len(pictures) - len(missing))
        self._metrics.cache_misses.labels(name).inc(len(missing))
        # A batch answers for whatever is asked of any of its pictures; where that is work, only equal wishes share one.
        selective = isinstance(subject, Selective)
        keys = [Key(name, (of, look.layers) if selective else of) for look in missing]
        answered = await self._queue.submit(missing, keys, principal=principal, deadline=deadline, weights=pixels)
        for look, seen in zip(missing, answered, strict=True):
            found[look.index - start] = {**found[look.index - start], **seen}
        return found


def revision(subject: Subject) -> str:
    """Return what answers of a subject are kept under: they change with it."""
    return f"{subject.info.name} {subject.info.revision} {subject.info.precision}"


def _digest(picture: type_pb2.Picture) -> bytes:
    """Of the file; of its stated kind too, since a wrong one is refused."""
    return hashlib.sha256(picture.media_type.encode() + b"\n" + picture.data).digest()
