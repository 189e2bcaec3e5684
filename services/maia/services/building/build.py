"""A whole build: a subject loaded, its pass over a dataset, and the set written."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from maia.services.building.datasets.dataset import Dataset, open_dataset
from maia.services.building.finishing import finish
from maia.services.building.passing import CHECKPOINT_S, Pass, Step, Wanted, run_part
from maia.services.building.plan import Plan, Shard
from maia.services.building.states import Skipped, State, folder_of, storing
from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import Manifest
from maia.services.exemplars.store import ExemplarStore
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.photograph_neurons.options import PhotographOptions
from maia.services.subject.hosting import load_subject
from maia.wire.errors import InternalError, InvalidRequestError, NotFoundError

__all__ = ["Build", "Built", "build", "finished", "merge", "opened"]

_LARGEST: Final = 65504.0
_LEAST: Final = 2.0**-14
"""Half precision's largest number, and its least of full precision."""

Watch = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Build:
    """What to build.

    Attributes:
        subject: Its name, as `--model` takes it.
        dataset: "scenes", or where it lies on disk; see `datasets`.
        store: Root of the exemplar store.
        wanted: Of the pass.
        size: Pictures of the dataset, its first; None for all.
        column: Of a table with pictures.
        split: Of a dataset with several.
        options: How a network is loaded.
        photographs: Of synthetic_neurons.
        shard: Which part to do; the whole alone is also finished.
        checkpoint_s: How often the pass saves where it is.
        threads: That read pictures, and that count; None for as many as is usual.
        anew: Do it again, whatever is stored of it.
    """

    subject: str
    dataset: str
    store: Path
    wanted: Wanted = field(default_factory=Wanted)
    size: int | None = None
    column: str | None = None
    split: str | None = None
    options: NetworkOptions = field(default_factory=NetworkOptions)
    photographs: PhotographOptions = field(default_factory=PhotographOptions)
    shard: Shard = field(default_factory=Shard)
    checkpoint_s: float = CHECKPOINT_S
    threads: int | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it.

    Attributes:
        plan: What the pass was.
        manifest: Of the set; None if other parts of it have to be done and merged yet.
        skipped: Pictures that were left out; empty if the set was there already.
        anew: Whether it was built now.
        notes: What people should know of the dataset.
    """

    plan: Plan
    manifest: Manifest | None = None
    skipped: tuple[Skipped, ...] = ()
    anew: bool = True
    notes: tuple[str, ...] = ()


def build(asked: Build, on_step: Watch = lambda _: None, stopped: Callable[[], bool] = lambda: False) -> Built:
    """Find the exemplars of a subject, or of a part of a dataset; what was done before is not done again.

    Args:
        asked: What to build.
        on_step: Is told how far it is.
        stopped: Whether to stop the pass; the same call goes on from there.

    Raises:
        CancelledError: It was stopped.
        NotFoundError: SUBJECT_UNKNOWN or LAYER_UNKNOWN.
        InvalidRequestError: TOP_INVALID or SHARD_INVALID.
        PreconditionError: What cannot be loaded, read, or written.
        InternalError: STATE_DAMAGED or EXEMPLARS_DAMAGED.
    """
    shard = asked.shard
    if shard.count < 1:
        raise InvalidRequestError(f"a pass cannot be cut into {shard.count} parts", reason="SHARD_INVALID")
    if not 0 <= shard.index < shard.count:
        raise InvalidRequestError(
            f"there is no part {shard.index} of {shard.count}; they are numbered 0 to {shard.count - 1}",
            reason="SHARD_INVALID",
        )
    dataset = opened(asked, on_step)
    the_pass = Pass.of(
        load_subject(asked.subject, asked.options, asked.photographs), dataset, asked.store, asked.wanted
    )
    plan = the_pass.plan
    with storing(asked.store):
        asked.store.mkdir(parents=True, exist_ok=True)
    store = ExemplarStore(asked.store)
    if asked.anew:
        forget(store, plan, shard)
    stored = store.like(plan.manifest(0))
    if stored is not None:
        return Built(
            plan, stored, anew=False, notes=(*dataset.notes, *_left_out(store, stored), *_beyond(store, stored))
        )
    run_part(the_pass, shard, on_step=on_step, stopped=stopped, checkpoint_s=asked.checkpoint_s, threads=asked.threads)
    if shard.count > 1:
        return Built(plan, notes=dataset.notes)
    return finished(plan, dataset, 1, asked.store, on_step)


def forget(store: ExemplarStore, plan: Plan, shard: Shard) -> None:
    """Remove what a pass, or a part of it, has left, and its set.

    Raises:
        PreconditionError: STORE_UNWRITABLE.
    """
    states = folder_of(store.root, plan)
    with storing(store.root):
        if shard.count > 1:  # the other parts may be at work
            (states / shard.file_name).unlink(missing_ok=True)
        else:
            _removed(states)
        _removed(store.folder_of(plan.manifest(0)))


def _removed(folder: Path) -> None:
    with suppress(FileNotFoundError):  # another part may have been quicker
        shutil.rmtree(folder)


def _left_out(store: ExemplarStore, stored: Manifest) -> list[str]:
    """What people should know of a set that is not built again."""
    try:
        report = json.loads((store.folder_of(stored) / "report.json").read_bytes())
        count = len(report["skipped"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    advice = "where they can be read by now, --anew builds the set again"
    return [f"{count} of the pictures were left out when it was built, as its report.json tells; {advice}"] * (
        count > 0
    )


def _beyond(store: ExemplarStore, manifest: Manifest) -> list[str]:
    """Which layers have units whose maps half precision cannot hold, so that their masks mislead."""
    notes = []
    for number, layer in enumerate(manifest.layers):
        best = np.abs(ExemplarLayer(store.folder_of(manifest), manifest, number).arrays.activations[:, 0])
        count = int((np.isfinite(best) & ((best > _LARGEST) | ((best > 0) & (best < _LEAST)))).sum())
        if count:
            notes.append(
                f"{count} units of {layer.name} answer with values that half precision cannot hold, in which maps are "
                "kept: their masks are not to be relied on; activations and statistics are exact"
            )
    return notes


def merge(asked: Build, on_step: Watch = lambda _: None) -> Built:
    """Put the parts of a pass together, which are in the store.

    Args:
        asked: The dataset and the store; of the subject, its name at most: nothing is loaded.
        on_step: Is told how far it is.

    Raises:
        NotFoundError: PARTS_MISSING: no part of such a pass is in the store.
        PreconditionError: PARTS_MISSING: some are not; NO_PICTURES or STORE_UNWRITABLE.
        InvalidRequestError: PASS_AMBIGUOUS: the parts are of several passes.
        InternalError: STATE_DAMAGED.
    """
    dataset = opened(asked, on_step)
    found: dict[str, Plan] = {}
    over: dict[str, Counter[int]] = {}
    damaged: dict[Path, InternalError] = {}
    for path in sorted((asked.store / "passes").glob("*/*-of-*.npz")):
        try:
            state = State.load(path, header=True)
        except InternalError as error:  # it may be another pass's
            damaged.setdefault(path.parent, error)
            continue
        if state is not None and _belongs(state.plan, asked, dataset):
            key = state.plan.key
            found[key] = state.plan
            over.setdefault(key, Counter())[state.shard.count] += int(state.done)
    ours = {folder_of(asked.store, plan) for plan in found.values()}
    for folder, damage in damaged.items():
        if not ours or folder in ours:
            raise damage
    if not found:
        raise NotFoundError(
            f"no parts of a pass over {dataset.name} are in {asked.store}; make them: maia exemplars build --shards N "
            "--shard NUMBER",
            reason="PARTS_MISSING",
        )
    if len(found) > 1:
        passes = "; ".join(
            f"{plan.subject} ({plan.key[:6]}, {len(plan.layers)} layers, batches of {plan.batch})"
            for plan in found.values()
        )
        raise InvalidRequestError(
            f"the parts in {asked.store} are of several passes: {passes:.1000}; name the subject with --model, or "
            "remove the folders below passes/ that are not wanted",
            reason="PASS_AMBIGUOUS",
        )
    ((key, plan),) = found.items()
    # A pass that was cut otherwise first, and given up, may have left parts of that.
    count = max(over[key], key=lambda count: over[key][count] / count)
    built = finished(plan, dataset, count, asked.store, on_step)
    notes = [f"taken for a part of another pass: {damage.message}" for damage in damaged.values()]
    return replace(built, notes=(*built.notes, *notes))


def _belongs(plan: Plan, asked: Build, dataset: Dataset) -> bool:
    same = (plan.dataset, plan.dataset_revision, plan.size) == (dataset.name, dataset.revision, len(dataset))
    return same and asked.subject in {"", plan.subject} and folder_of(asked.store, plan).exists()


def finished(plan: Plan, dataset: Dataset, count: int, store: Path, on_step: Watch) -> Built:
    """Merge the parts of a pass and write its set; raises as `finish`."""
    manifest, skipped = finish(plan, dataset, count, store, on_step=on_step)
    return Built(plan, manifest, tuple(skipped), notes=(*dataset.notes, *_beyond(ExemplarStore(store), manifest)))


def opened(asked: Build, on_step: Watch) -> Dataset:
    """Open the dataset of a build; raises as `open_dataset`."""

    def heard(doing: str, done: int, total: int) -> None:
        on_step(Step(doing, done, total))

    with storing(asked.store):
        return open_dataset(
            asked.dataset, store=asked.store, size=asked.size, column=asked.column, split=asked.split, progress=heard
        )
