"""Pictures of a dataset, read and prepared ahead of the pass by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from maia.services.building.datasets.dataset import Dataset
from maia.services.building.states import Skipped
from maia.services.subject.model import Input, Subject
from maia.wire.errors import MaiaError, OverloadedError
from maia.wire.pictures import decode

__all__ = ["ReadBatch", "read_batches", "read_slots"]

_AHEAD: Final = 2
"""Batches that are read while one is looked at."""


@dataclass(frozen=True, slots=True)
class ReadBatch:
    """One batch of a pass.

    Attributes:
        number: In the whole dataset.
        slots: Of those that could be read.
        inputs: One for each slot.
        skipped: The others.
    """

    number: int
    slots: Sequence[int]
    inputs: Sequence[Input]
    skipped: Sequence[Skipped]


def read_batches(
    dataset: Dataset, subject: Subject, batches: range, size: int, pool: ThreadPoolExecutor
) -> Iterator[ReadBatch]:
    """Yield batches of a dataset in order; see `read_slots`.

    Args:
        dataset: To read.
        subject: Prepares its pictures.
        batches: Which; batch n has the slots from n × size on.
        size: Of a batch.
        pool: Reads and prepares.
    """
    parts = (range(number * size, min((number + 1) * size, len(dataset))) for number in batches)
    yield from read_slots(dataset, subject, zip(batches, parts, strict=True), pool)


def read_slots(
    dataset: Dataset, subject: Subject, batches: Iterable[tuple[int, Sequence[int]]], pool: ThreadPoolExecutor
) -> Iterator[ReadBatch]:
    """Yield batches of any pictures.

    Args:
        dataset: To read.
        subject: Prepares its pictures.
        batches: Their numbers, and the slots of each.
        pool: Reads and prepares.

    Raises:
        OverloadedError: There is no memory to decode a picture.
        Exception: What preparing raises, which is no fault of a picture.
    """
    duplicates = dataset.duplicates

    def one(slot: int) -> Input | Skipped:
        if slot in duplicates:
            return Skipped(slot, dataset.title(slot), f"the same picture as {dataset.title(duplicates[slot])}")
        try:
            rgb = decode(dataset.read(slot))
        except OverloadedError:
            raise
        except MaiaError as error:
            return Skipped(slot, dataset.title(slot), error.message.removeprefix("picture 0 "))
        except OSError as error:
            return Skipped(slot, dataset.title(slot), f"it cannot be opened: {error.strerror or error}", passing=True)
        return subject.prepare(rgb)

    waiting: deque[tuple[int, Sequence[int], list[Future[Input | Skipped]]]] = deque()
    for number, slots in batches:
        waiting.append((number, slots, [pool.submit(one, slot) for slot in slots]))
        if len(waiting) > _AHEAD:
            yield _read(*waiting.popleft())
    while waiting:
        yield _read(*waiting.popleft())


def _read(number: int, wanted: Sequence[int], futures: Sequence[Future[Input | Skipped]]) -> ReadBatch:
    slots, inputs, skipped = [], [], []
    for slot, future in zip(wanted, futures, strict=True):
        found = future.result()
        if isinstance(found, Skipped):
            skipped.append(found)
        else:
            slots.append(slot)
            inputs.append(found)
    return ReadBatch(number, slots, inputs, skipped)
