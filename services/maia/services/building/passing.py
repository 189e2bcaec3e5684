"""One pass of a subject over a dataset, or over a part of it, with all layers at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from maia.services._runtime.memory import is_out_of_memory
from maia.services.building.datasets.dataset import Dataset
from maia.services.building.layer_values import layer_values
from maia.services.building.plan import BATCH, SAMPLES, Plan, Shard
from maia.services.building.reading import ReadBatch, read_batches, read_slots
from maia.services.building.states import State, folder_of
from maia.services.building.tally import LayerTally, NotFiniteError, Workers
from maia.services.exemplars.model import TOP, StoredLayer
from maia.services.subject.model import Subject
from maia.wire.errors import CancelledError, InvalidRequestError, NotFoundError, PreconditionError

__all__ = ["CHECKPOINT_S", "Pass", "Step", "Wanted", "run_part"]

CHECKPOINT_S: Final = 60.0
"""How often a pass saves where it is, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a pass is.

    Attributes:
        doing: "rendering", "comparing", "measuring" or "gathering".
        done: Pictures.
        total: Pictures.
    """

    doing: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What can be chosen of a pass.

    Attributes:
        layers: Names; all if there is none.
        batch: Pictures that are looked at together.
        top: Leaders of each unit.
        samples: Pictures of the sample.
    """

    layers: tuple[str, ...] = ()
    batch: int = BATCH
    top: int = TOP
    samples: int = SAMPLES


@dataclass(frozen=True, slots=True)
class Pass:
    """A subject, a dataset, and what is done with them.

    Attributes:
        subject: Looks.
        dataset: At its pictures.
        plan: What the pass is.
        store: Root of the exemplar store.
    """

    subject: Subject
    dataset: Dataset
    plan: Plan
    store: Path

    @classmethod
    def of(cls, subject: Subject, dataset: Dataset, store: Path, wanted: Wanted) -> Self:
        """Plan a pass.

        Raises:
            NotFoundError: LAYER_UNKNOWN, metadata "valid".
            InvalidRequestError: TOP_INVALID: more leaders than pictures. BATCH_INVALID, SAMPLES_INVALID: too few.
        """
        if wanted.batch < 1:
            raise InvalidRequestError(
                f"{wanted.batch} pictures are no batch; take at least 1",
                reason="BATCH_INVALID",
                metadata={"batch": str(wanted.batch)},
            )
        if wanted.samples < 0:
            raise InvalidRequestError(
                f"{wanted.samples} pictures are no sample; take 0 or more",
                reason="SAMPLES_INVALID",
                metadata={"samples": str(wanted.samples)},
            )
        if not 1 <= wanted.top <= len(dataset):
            raise InvalidRequestError(
                f"{wanted.top} pictures of each unit cannot be kept of a dataset of {len(dataset)}; choose 1 to "
                f"{len(dataset)}",
                reason="TOP_INVALID",
                metadata={"top": str(wanted.top), "limit": str(len(dataset))},
            )
        plan = Plan(
            subject=subject.info.name,
            subject_revision=subject.info.revision,
            layers=_layers(subject, wanted.layers),
            dataset=dataset.name,
            dataset_revision=dataset.revision,
            size=len(dataset),
            batch=wanted.batch,
            top=wanted.top,
            samples=min(wanted.samples, len(dataset)),
        )
        return cls(subject, dataset, plan, store)


def run_part(
    the_pass: Pass,
    shard: Shard,
    *,
    on_step: Callable[[Step], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
    checkpoint_s: float = CHECKPOINT_S,
    threads: int | None = None,
) -> None:
    """Pass over a part of a dataset, from where it stood; its state is in the store every so often and at the end.

    Pictures that an earlier call could not read because of the disk, or of a missing right, are read again first.

    Args:
        the_pass: What is done.
        shard: Which part.
        on_step: Is told how far it is.
        stopped: Whether to save the state and stop; asked between batches.
        checkpoint_s: How often the state is saved.
        threads: That read, and that count; None for one of each for each processor, up to eight.

    Raises:
        CancelledError: It was stopped.
        PreconditionError: STORE_UNWRITABLE, OUT_OF_MEMORY or VALUES_NOT_FINITE.
        InternalError: STATE_DAMAGED.
    """
    plan = the_pass.plan
    folder = folder_of(the_pass.store, plan)
    batches = shard.batches(plan)
    state = State.load(folder / shard.file_name) or State(plan, shard, batches.start)
    again = [one.slot for one in state.skipped if one.passing]
    if state.done and state.layers and not again:
        return
    tallies = _tallies(the_pass, batches)
    for tally in tallies:
        if tally.layer.name in state.layers:
            tally.merge(state.layers[tally.layer.name])
    state.layers = {}
    total = min(batches.stop * plan.batch, plan.size) - batches.start * plan.batch

    def save() -> None:
        state.layers = {tally.layer.name: tally.state() for tally in tallies}
        state.save(folder)
        state.layers = {}

    saved = time.monotonic()
    left = range(state.next_batch, batches.stop)
    threads = threads or min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, "read") as readers, ThreadPoolExecutor(threads, "count") as counters:
        try:
            if again:
                batches_again = (again[start : start + plan.batch] for start in range(0, len(again), plan.batch))
                late = read_slots(the_pass.dataset, the_pass.subject, enumerate(batches_again), readers)
                _add_late(the_pass, tallies, state, late, Workers(counters, threads))
            for batch in read_batches(the_pass.dataset, the_pass.subject, left, plan.batch, readers):
                if batch.inputs:
                    _take(the_pass, tallies, batch, Workers(counters, threads))
                state.skipped += batch.skipped
                state.next_batch = batch.number + 1
                done = min(state.next_batch * plan.batch, plan.size) - batches.start * plan.batch
                on_step(Step("measuring", done, total))
                if stopped() and not state.done:
                    save()
                    raise CancelledError(
                        f"stopped after {done} of {total} pictures; the same command goes on from there"
                    )
                if time.monotonic() - saved > checkpoint_s and not state.done:
                    save()
                    saved = time.monotonic()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
    save()


def _add_late(
    the_pass: Pass, tallies: Sequence[LayerTally], state: State, batches: Iterator[ReadBatch], workers: Workers
) -> None:
    """Look at pictures that could not be read when their batches were."""
    fresh = _tallies(the_pass, range(the_pass.plan.batches))
    state.skipped = [one for one in state.skipped if not one.passing]
    for batch in batches:
        if batch.inputs:
            _take(the_pass, fresh, batch, workers)
        state.skipped += batch.skipped
    for tally, late in zip(tallies, fresh, strict=True):
        tally.merge(late.state())


def _take(the_pass: Pass, tallies: Sequence[LayerTally], batch: ReadBatch, workers: Workers) -> None:
    """Look at a batch and count."""
    try:
        answers = the_pass.subject.look(batch.inputs, [tally.layer.name for tally in tallies])
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise PreconditionError(
            f"a batch of {len(batch.inputs)} pictures does not fit into memory; choose a smaller --batch",
            reason="OUT_OF_MEMORY",
        ) from error
    slots = np.array(batch.slots, np.int64)
    frames = np.array([astuple(one.frame) for one in batch.inputs], np.float64)
    for tally in tallies:
        try:
            tally.add(layer_values(answers[tally.layer.name], len(slots), tally.layer.units), slots, frames, workers)
        except NotFiniteError as error:
            raise PreconditionError(
                f"unit {error.unit} of {tally.layer.name} answers to {the_pass.dataset.title(error.slot)} with what is "
                "no number; choose --precision float32, or leave the layer out",
                reason="VALUES_NOT_FINITE",
                metadata={"layer": tally.layer.name, "unit": str(error.unit)},
            ) from error


def _tallies(the_pass: Pass, batches: range) -> list[LayerTally]:
    plan = the_pass.plan
    samples, pictures = plan.sample(), len(batches) * plan.batch
    return [LayerTally(layer, plan.top, samples, pictures=pictures) for layer in plan.layers]


def _layers(subject: Subject, names: Sequence[str]) -> tuple[StoredLayer, ...]:
    """The layers of these names, in the order of the subject's; all, if none is named."""
    known = {layer.name: layer for layer in subject.info.layers}
    unknown = [name for name in names if name not in known]
    if unknown:
        valid = ", ".join(known)
        raise NotFoundError(
            f"{subject.info.name} has no layer {unknown[0]!r:.100} whose units have maps; it has {valid:.2000}",
            reason="LAYER_UNKNOWN",
            metadata={"layer": unknown[0][:200], "valid": valid[:2000]},
        )
    return tuple(
        StoredLayer(name=layer.name, units=layer.units, map_height=layer.map_height, map_width=layer.map_width)
        for layer in subject.info.layers
        if not names or layer.name in names
    )
