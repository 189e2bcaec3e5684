"""The parts of a pass put together, and the set written: what is known of units, and the pictures that they need."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maia.services.building.datasets.dataset import Dataset
from maia.services.building.passing import Step
from maia.services.building.plan import Plan, Shard
from maia.services.building.sketch import Distribution
from maia.services.building.states import Skipped, State, folder_of, storing
from maia.services.building.tally import LayerTally
from maia.services.exemplars.model import QUANTILE, KeptPicture, LayerArrays, Manifest
from maia.services.exemplars.store import ExemplarStore
from maia.wire.errors import MaiaError, PreconditionError
from maia.wire.maps import Frame

__all__ = ["finish"]

HISTOGRAM_BINS: Final = 64

_AT_ONCE: Final = 256
"""Units whose distributions are laid out at once."""


def finish(
    plan: Plan, dataset: Dataset, count: int, store: Path, *, on_step: Callable[[Step], None] = lambda _: None
) -> tuple[Manifest, list[Skipped]]:
    """Merge the parts of a pass and write its set. What the parts have left is removed then.

    Args:
        plan: What the pass is.
        dataset: Of the plan.
        count: Of all parts.
        store: Root of the exemplar store.
        on_step: Is told how far it is.

    Returns:
        The set's manifest, and the pictures that were left out.

    Raises:
        PreconditionError: PARTS_MISSING, NO_PICTURES, STORE_UNWRITABLE, or PICTURE_GONE: one that was read in the pass
            cannot be read any more.
        InternalError: STATE_DAMAGED.
    """
    folder = folder_of(store, plan)
    samples = plan.sample()
    tallies = [LayerTally(layer, plan.top, samples, pictures=plan.size) for layer in plan.layers]
    skipped: list[Skipped] = []
    missing = []
    for index in range(count):
        state = State.load(folder / Shard(index, count).file_name)
        if state is None or not state.done:
            missing.append(str(index))
            continue
        skipped += state.skipped
        for tally in tallies:
            if tally.layer.name in state.layers:
                tally.merge(state.layers[tally.layer.name])
    if missing:
        raise PreconditionError(
            f"of {count} parts, {', '.join(missing)} are not over; run each by --shards {count} --shard NUMBER",
            reason="PARTS_MISSING",
            metadata={"missing": ",".join(missing)},
        )
    readable = plan.size - len(skipped)
    if not readable:
        shutil.rmtree(folder, ignore_errors=True)  # the same command must not find this again when they can be read
        raise PreconditionError(
            f"none of the {plan.size} pictures can be read; the first is {skipped[0].title}: {skipped[0].why}; once "
            "they can be, run the same command again",
            reason="NO_PICTURES",
        )
    skipped.sort(key=lambda one: one.slot)
    there = np.flatnonzero(~np.isin(samples, [one.slot for one in skipped]))
    manifest = plan.manifest(len(there))
    with storing(store), ExemplarStore(store).writing(manifest) as writer:
        writer.write_report([{"index": one.slot, "title": one.title, "why": one.why} for one in skipped])
        frames: dict[int, NDArray[np.float64]] = {}
        for number, tally in enumerate(tallies):
            writer.write_layer(number, _arrays(tally, there))
            flat = tally.leaders.slots.ravel()
            frames.update(zip(flat.tolist(), tally.leaders.frames.reshape(-1, 4), strict=True))
        frames |= zip(samples[there].tolist(), tallies[0].sample_frames[there], strict=True)
        frames.pop(-1, None)
        writer.write_pictures(_gathered(dataset, frames, on_step), samples[there].tolist())
    shutil.rmtree(folder, ignore_errors=True)
    return manifest, skipped


def _gathered(
    dataset: Dataset,
    frames: dict[int, NDArray[np.float64]],
    on_step: Callable[[Step], None],
) -> Iterator[KeptPicture]:
    """Each picture that a leader or the sample needs, once."""
    wanted = sorted(frames)
    for done, slot in enumerate(wanted, 1):
        try:
            data = dataset.read(slot)
        except (MaiaError, OSError) as error:
            why = error.message if isinstance(error, MaiaError) else error.strerror or str(error)
            raise PreconditionError(
                f"{dataset.title(slot)} was read before and cannot be read any more: {why:.500}; what was measured is "
                "kept: put it back and run the same command again",
                reason="PICTURE_GONE",
                metadata={"title": dataset.title(slot)[:200]},
            ) from error
        yield KeptPicture(slot, dataset.title(slot), data, Frame(*frames[slot].tolist()))
        on_step(Step("gathering", done, len(wanted)))


def _arrays(tally: LayerTally, samples: NDArray[np.intp]) -> LayerArrays:
    units = tally.layer.units
    thresholds, density, edges, histogram, totals = [], [], [], [], []
    for start in range(0, units, _AT_ONCE):
        distribution = Distribution(tally.counts(slice(start, start + _AT_ONCE)))
        thresholds.append(distribution.quantile(QUANTILE))
        density.append(distribution.density())
        wide_edges, wide = distribution.histogram(HISTOGRAM_BINS)
        edges.append(wide_edges)
        histogram.append(wide)
        totals.append(wide.sum(axis=1))
    return LayerArrays(
        indices=tally.leaders.slots,
        activations=tally.leaders.activations,
        maps=tally.leaders.maps,
        thresholds=np.concatenate(thresholds),
        mean=tally.sums.means(np.concatenate(totals)),
        density=np.concatenate(density),
        edges=np.concatenate(edges),
        histogram=np.concatenate(histogram),
        sampled=np.ascontiguousarray(tally.sampled[:, samples]),
    )
