"""A whole pass against a plain reference that keeps every map and sorts, in one part or in many."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.unit.services.building.planted import Planted, Table, animation, files_of, numbered, plan_for

from maia.services.building.finishing import HISTOGRAM_BINS, finish
from maia.services.building.passing import Pass, Step, run_part
from maia.services.building.plan import Plan, Shard
from maia.services.building.sketch import ERROR
from maia.services.building.states import State, folder_of
from maia.services.exemplars.model import LayerArrays
from maia.services.exemplars.store import ExemplarStore
from maia.wire.errors import InternalError, MaiaError, PreconditionError
from maia.wire.maps import Frame

Layers = dict[str, NDArray[np.float32]]
LEAST = 2.0**-40 * (1 + 1 / 128)

ELEMENTS = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 2.0, -1.0]), st.floats(-1e6, 1e6, width=32))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Layers, list[bytes], dict[int, int], int]:
    """Layers' answers to every picture; the pictures, some unreadable; duplicates; pictures in a batch."""
    count = draw(st.integers(1, 25))
    shapes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
    layers = {
        f"layer{number}": draw(hnp.arrays(np.float32, (count, *draw(shapes)), elements=ELEMENTS))
        for number in range(draw(st.integers(1, 2)))
    }
    pictures = [numbered(slot) for slot in range(count)]
    broken = draw(st.sets(st.integers(0, count - 1), max_size=count - 1))
    for slot in broken:
        pictures[slot] = draw(st.sampled_from([b"", b"no picture", pictures[slot][:40]]))
    duplicates: dict[int, int] = {}
    for slot, first in draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=4)):
        if first < slot and not {slot, first} & {*broken, *duplicates, *duplicates.values()}:
            duplicates[slot] = first
    return layers, pictures, duplicates, draw(st.integers(1, 6))


def read_slots(pictures: Sequence[bytes], duplicates: dict[int, int]) -> NDArray[np.intp]:
    good = [picture == numbered(slot) and slot not in duplicates for slot, picture in enumerate(pictures)]
    return np.flatnonzero(good)


@contextmanager
def folder() -> Iterator[Path]:
    """Hypothesis would share one `tmp_path` between all its examples."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def passed(a_pass: Pass, count: int, order: Sequence[int] | None = None) -> dict[str, bytes]:
    """All files of the set that parts make, and that nothing else is left."""
    for index in order or range(count):
        run_part(a_pass, Shard(index, count))
    manifest, _ = finish(a_pass.plan, a_pass.dataset, count, a_pass.store)
    assert not folder_of(a_pass.store, a_pass.plan).exists()
    return files_of(ExemplarStore(a_pass.store).folder_of(manifest))


@given(worlds(), st.integers(1, 5), st.integers(0, 30), st.booleans())
@settings(max_examples=60)
def test_a_pass_finds_what_a_plain_reference_finds(
    world: tuple[Layers, list[bytes], dict[int, int], int], top: int, samples: int, plain: bool
) -> None:
    layers, pictures, duplicates, batch = world
    dataset, subject = Planted(pictures, duplicates), Table(layers, plain=plain)
    plan = plan_for(dataset, subject, batch=batch, top=min(top, len(pictures)), samples=min(samples, len(pictures)))
    there = read_slots(pictures, duplicates)
    with folder() as store:
        passed(Pass(subject, dataset, plan, store), 1)
        for name, values in layers.items():
            layer = ExemplarStore(store).find("table", name)
            check_layer(layer.arrays, values[there], there, plan)
            sample = np.load(layer.folder / "samples.npy")
            assert sample.tolist() == np.intersect1d(plan.sample(), there).tolist()
            assert np.array_equal(np.asarray(layer.arrays.sampled), values[sample].max(axis=(2, 3)).T)
            for exemplar in layer.exemplars(0):
                slot = exemplar.picture.index
                assert exemplar.picture.data == pictures[slot]
                assert exemplar.picture.title == f"picture {slot}.png"
                assert exemplar.picture.frame == Frame.whole(2 + slot % 5, 2 + slot % 3)
        report = json.loads((layer.folder / "report.json").read_bytes())
    assert [one["index"] for one in report["skipped"]] == sorted(set(range(len(pictures))) - set(there.tolist()))


def check_layer(arrays: LayerArrays, values: NDArray[np.float32], slots: NDArray[np.intp], plan: Plan) -> None:
    """Args:
    values: float32, (readable pictures, units, h, w).
    slots: Of the pictures.
    """
    activations = values.max(axis=(2, 3))
    kept = min(plan.top, len(slots))
    for unit in range(values.shape[1]):
        order = np.lexsort((slots, -activations[:, unit]))[:kept]
        assert arrays.indices[unit].tolist() == slots[order].tolist() + [-1] * (plan.top - kept)
        assert arrays.activations[unit, :kept].tolist() == activations[order, unit].tolist()
        assert arrays.maps is not None
        clipped = values[order, unit].clip(-65504, 65504).astype(np.float16)
        assert np.array_equal(arrays.maps[unit, :kept], clipped)
        own = values[:, unit].ravel().astype(np.float64)
        check_statistics(arrays, unit, own, plan.quantile)


def check_statistics(arrays: LayerArrays, unit: int, own: NDArray[np.float64], q: float) -> None:
    assert arrays.thresholds is not None
    assert arrays.mean is not None
    assert arrays.density is not None
    assert arrays.histogram is not None
    below, above = (np.quantile(own, q, method=how) for how in ("lower", "higher"))
    lowest, highest = below - max(abs(below) * ERROR, LEAST), above + max(abs(above) * ERROR, LEAST)
    assert lowest <= arrays.thresholds[unit] <= highest
    assert abs(arrays.mean[unit] - own.mean()) <= 1e-9 * np.abs(own).mean()
    assert arrays.density[unit] == (own >= LEAST).mean()
    assert arrays.histogram.shape[1] == HISTOGRAM_BINS
    assert arrays.histogram[unit].sum() == len(own)


@given(worlds(), st.data())
@settings(max_examples=60)
def test_parts_make_the_same_set_to_the_byte(
    world: tuple[Layers, list[bytes], dict[int, int], int], data: st.DataObject
) -> None:
    layers, pictures, duplicates, batch = world
    dataset, subject = Planted(pictures, duplicates), Table(layers)
    plan = plan_for(dataset, subject, batch=batch, top=min(3, len(pictures)), samples=min(5, len(pictures)))
    count = data.draw(st.integers(2, 9))
    order = data.draw(st.permutations(range(count)))
    with folder() as one, folder() as many:
        whole = passed(Pass(subject, dataset, plan, one), 1)
        batches = subject.batches.copy()
        subject.batches.clear()
        assert passed(Pass(subject, dataset, plan, many), count, order) == whole
        assert sorted(subject.batches) == sorted(batches)
    assert len(whole) > 10


def ten(**changed: Any) -> tuple[Planted, Table, Plan]:
    dataset = Planted([numbered(slot) for slot in range(10)])
    values = np.random.default_rng(3).normal(size=(10, 2, 2, 2)).astype(np.float32)
    subject = Table({"layer": values})
    return dataset, subject, plan_for(dataset, subject, **changed)


def refusal(call: Callable[[], object]) -> MaiaError:
    with pytest.raises(MaiaError) as caught:
        call()
    assert "\n" not in caught.value.message
    return caught.value


def test_parts_that_are_missing_are_named(tmp_path: Path) -> None:
    dataset, subject, plan = ten()
    run_part(Pass(subject, dataset, plan, tmp_path), Shard(1, 3))
    error = refusal(lambda: finish(plan, dataset, 3, tmp_path))
    assert (error.reason, error.metadata["missing"]) == ("PARTS_MISSING", "0,2")
    assert "--shards 3 --shard NUMBER" in error.message
    assert ExemplarStore(tmp_path).manifests() == []


def test_a_dataset_of_nothing_readable_is_refused(tmp_path: Path) -> None:
    dataset, subject, plan = ten()
    dataset.pictures = [animation()] * 10
    run_part(Pass(subject, dataset, plan, tmp_path), Shard())
    error = refusal(lambda: finish(plan, dataset, 1, tmp_path))
    assert error.reason == "NO_PICTURES"
    assert "none of the 10 pictures can be read; the first is picture 0.png: " in error.message
    assert "animation" in error.message
    assert files_of(tmp_path / "sets") == {}


def test_pictures_that_can_be_read_again_are_found_by_the_same_command(tmp_path: Path) -> None:
    dataset, subject, plan = ten()
    good, dataset.pictures = dataset.pictures, [b"no picture"] * 10
    a_pass = Pass(subject, dataset, plan, tmp_path)
    run_part(a_pass, Shard())
    assert refusal(lambda: finish(plan, dataset, 1, tmp_path)).reason == "NO_PICTURES"
    dataset.pictures = good
    run_part(a_pass, Shard())
    manifest, skipped = finish(plan, dataset, 1, tmp_path)
    assert (manifest.dataset_size, skipped) == (10, [])


def test_a_picture_that_went_away_after_the_pass_is_named_and_the_pass_is_kept(tmp_path: Path) -> None:
    dataset, subject, plan = ten(samples=10)
    run_part(Pass(subject, dataset, plan, tmp_path), Shard())
    dataset.gone = {4}
    error = refusal(lambda: finish(plan, dataset, 1, tmp_path))
    assert error.reason == "PICTURE_GONE"
    assert "picture 4.png was read before and cannot be read any more: No such file or directory" in error.message
    assert files_of(tmp_path / "sets") == {}
    dataset.gone, looked = set(), len(subject.batches)
    finish(plan, dataset, 1, tmp_path)
    assert len(subject.batches) == looked


def test_each_picture_that_is_kept_is_read_once_more(tmp_path: Path) -> None:
    dataset, subject, plan = ten(top=2, samples=0)
    run_part(Pass(subject, dataset, plan, tmp_path), Shard())
    dataset.read_slots.clear()
    told: list[Step] = []
    finish(plan, dataset, 1, tmp_path, on_step=told.append)
    layer = ExemplarStore(tmp_path).find("table", "layer")
    kept = sorted({exemplar.picture.index for unit in range(2) for exemplar in layer.exemplars(unit)})
    assert dataset.read_slots == kept
    assert told == [Step("gathering", done, len(kept)) for done in range(1, len(kept) + 1)]
    sizes = sum(len(dataset.pictures[slot]) for slot in kept)
    assert (layer.folder / "pictures.bin").stat().st_size == sizes
    assert layer.manifest.samples == 0
    assert refusal(lambda: layer.sampled(0, 0, 1, 5)).reason == "EXEMPLARS_MISSING"


def test_a_state_of_another_plan_or_a_damaged_one_is_not_merged(tmp_path: Path) -> None:
    dataset, subject, plan = ten()
    run_part(Pass(subject, dataset, plan, tmp_path), Shard())
    path = folder_of(tmp_path, plan) / Shard().file_name
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"x" * len(whole), whole[:200] + b"\0" * 300 + whole[500:]):
        path.write_bytes(damaged)
        with pytest.raises(InternalError, match=r"0-of-1.npz is damaged .*; remove it") as caught:
            finish(plan, dataset, 1, tmp_path)
        assert caught.value.reason == "STATE_DAMAGED"
    path.write_bytes(whole)
    state = State.load(path)
    assert state is not None
    assert state.done
    with pytest.raises(PreconditionError, match="of 2 parts, 0, 1 are not over"):
        finish(plan, dataset, 2, tmp_path)
