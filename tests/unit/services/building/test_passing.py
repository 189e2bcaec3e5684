"""A part of a pass: what is left out, how it stops and goes on, and what it refuses."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.services.building.planted import Planted, Table, animation, files_of, numbered, plan_for
from tests.unit.services.building.test_finishing import folder, passed

from maia.services.building.finishing import finish
from maia.services.building.passing import Pass, Step, Wanted, run_part
from maia.services.building.plan import Plan, Shard
from maia.services.building.states import State, folder_of
from maia.services.exemplars.store import ExemplarStore
from maia.wire.errors import CancelledError, InternalError, InvalidRequestError, NotFoundError, PreconditionError

COUNT = 22


def a_pass(store: Path, **changed: Any) -> tuple[Pass, Planted, Table]:
    dataset = Planted([numbered(slot) for slot in range(COUNT)])
    values = np.random.default_rng(5).normal(size=(COUNT, 3, 2, 2)).astype(np.float32)
    subject = Table({"layer": values, "deep": values[:, :, :1, :1] * 3})
    return Pass(subject, dataset, plan_for(dataset, subject, **changed), store), dataset, subject


def huge() -> bytes:
    """A picture of a few hundred bytes whose header says 30,000 × 30,000."""
    data = bytearray(numbered(0))
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def test_what_cannot_be_looked_at_is_left_out_and_told(tmp_path: Path) -> None:
    made, dataset, subject = a_pass(tmp_path)
    dataset.pictures[1] = b"hello"
    dataset.pictures[2] = numbered(2)[:50]
    dataset.pictures[3] = animation()
    dataset.pictures[4] = huge()
    dataset.pictures[5] = b""
    dataset.gone = {6}
    dataset.duplicates = {7: 0}
    run_part(made, Shard())
    _, skipped = finish(made.plan, dataset, 1, tmp_path)
    whys = {one.slot: one.why for one in skipped}
    assert sorted(whys) == [1, 2, 3, 4, 5, 6, 7]
    assert "animation" in whys[3]
    assert whys[4].startswith("is too large")
    assert whys[6] == "it cannot be opened: No such file or directory"
    assert whys[7] == "the same picture as picture 0.png"
    assert not any("picture 0 " in why for slot, why in whys.items() if slot != 7)
    assert [slot for batch in subject.batches for slot in batch] == [0, *range(8, COUNT)]
    assert dataset.read_slots.count(7) == 0


@given(st.lists(st.integers(1, 5), max_size=8))
@settings(max_examples=20)
def test_stops_and_resumes_change_no_byte(stops: list[int]) -> None:
    with folder() as plain, folder() as stopped:
        whole = passed(a_pass(plain)[0], 1)
        made, _, subject = a_pass(stopped)
        for after in stops:
            steps: list[Step] = []
            with suppress(CancelledError):  # it may be at its end first
                run_part(made, Shard(), on_step=steps.append, stopped=partial(lambda n, s: len(s) >= n, after, steps))
        assert passed(made, 1) == whole
        assert sorted(slot for batch in subject.batches for slot in batch) == list(range(COUNT))


def test_a_part_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    made, _, subject = a_pass(tmp_path)
    run_part(made, Shard(1, 2))
    looked = len(subject.batches)
    steps: list[Step] = []
    run_part(made, Shard(1, 2), on_step=steps.append)
    assert (len(subject.batches), steps) == (looked, [])


@pytest.mark.parametrize("stop", [3, 100])
def test_what_could_not_be_opened_is_tried_again(tmp_path: Path, stop: int) -> None:
    whole, dataset, _ = a_pass(tmp_path / "whole")
    run_part(whole, Shard())
    finish(whole.plan, dataset, 1, tmp_path / "whole")
    late, dataset, _ = a_pass(tmp_path / "late")
    dataset.gone = {1, 4}
    calls = iter(range(stop))
    with suppress(CancelledError):
        run_part(late, Shard(), stopped=lambda: next(calls, None) is None)
    dataset.gone = set()
    run_part(late, Shard())
    _, skipped = finish(late.plan, dataset, 1, tmp_path / "late")
    assert skipped == []
    assert files_of(tmp_path / "late") == files_of(tmp_path / "whole")


def test_a_part_of_no_batches_is_done_at_once(tmp_path: Path) -> None:
    made, _, subject = a_pass(tmp_path, batch=COUNT)
    run_part(made, Shard(0, 2))
    assert subject.batches == []
    run_part(made, Shard(1, 2))
    finish(made.plan, made.dataset, 2, tmp_path)


def test_progress_counts_the_parts_pictures(tmp_path: Path) -> None:
    made, _, _ = a_pass(tmp_path, batch=4)
    steps: list[Step] = []
    run_part(made, Shard(1, 2), on_step=steps.append)
    assert steps == [Step("measuring", done, 10) for done in (4, 8, 10)]


def test_the_state_is_saved_every_so_often(tmp_path: Path) -> None:
    made, _, _ = a_pass(tmp_path, batch=4)
    saved: list[int] = []

    def look(_: Step) -> None:
        state = State.load(folder_of(tmp_path, made.plan) / Shard().file_name, header=True)
        saved.append(-1 if state is None else state.next_batch)

    run_part(made, Shard(), on_step=look, checkpoint_s=0)
    assert saved == [-1, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("beside", [0.0, float("inf"), 3e38])
def test_what_is_no_number_is_refused_by_unit_and_picture(tmp_path: Path, value: float, beside: float) -> None:
    made, _, subject = a_pass(tmp_path)
    subject.layers["deep"][9, 2, 0, 0] = value
    subject.layers["layer"][:9, 1, 0, 0] = min(beside, 3e38)  # large, but numbers
    with pytest.raises(PreconditionError, match=r"unit 2 of deep answers to picture 9.png with what is no number") as e:
        run_part(made, Shard())
    assert (e.value.reason, e.value.metadata["unit"]) == ("VALUES_NOT_FINITE", "2")


def test_infinities_of_both_signs_do_not_cancel_out(tmp_path: Path) -> None:
    made, _, subject = a_pass(tmp_path)
    subject.layers["layer"][3, 0, 0] = [float("inf"), -float("inf")]
    with pytest.raises(PreconditionError, match=r"unit 0 of layer answers to picture 3.png"):
        run_part(made, Shard())


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1.0, 1e9, 3.3e38])
def test_means_hold_for_all_magnitudes(tmp_path: Path, scale: float) -> None:
    made, _, subject = a_pass(tmp_path)
    random = np.random.default_rng(1)
    subject.layers["layer"] = (random.uniform(-1, 1, (COUNT, 3, 2, 2)) * scale).astype(np.float32)
    run_part(made, Shard())
    finish(made.plan, made.dataset, 1, tmp_path)
    layer = ExemplarStore(tmp_path).find("table", "layer")
    values = subject.layers["layer"].astype(np.float64).transpose(1, 0, 2, 3).reshape(3, -1)
    for unit in range(3):
        known = layer.statistics(unit)
        assert known.mean is not None
        assert abs(known.mean - values[unit].mean()) <= 1e-9 * np.abs(values[unit]).mean()
        assert (known.threshold is None) == (scale > 2.0**24)


def test_a_batch_that_does_not_fit_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, subject = a_pass(tmp_path)

    def look(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(subject, "look", look)
    with pytest.raises(PreconditionError, match="a batch of 4 pictures does not fit into memory") as caught:
        run_part(made, Shard())
    assert caught.value.reason == "OUT_OF_MEMORY"


def test_a_damaged_state_is_named_and_never_overwritten(tmp_path: Path) -> None:
    made, _, _ = a_pass(tmp_path)
    path = folder_of(tmp_path, made.plan) / Shard().file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    with pytest.raises(InternalError, match=r"0-of-1.npz is damaged \(.*\); remove it, and that part") as caught:
        run_part(made, Shard())
    assert caught.value.reason == "STATE_DAMAGED"
    assert path.read_bytes() == b"damaged"


def test_a_state_without_one_of_its_layers_is_damaged(tmp_path: Path) -> None:
    made, _, _ = a_pass(tmp_path)
    run_part(made, Shard())
    folder = folder_of(tmp_path, made.plan)
    state = State.load(folder / Shard().file_name)
    assert state is not None
    state.layers = dict(list(state.layers.items())[1:])
    state.save(folder)
    with pytest.raises(InternalError, match="is damaged") as caught:
        run_part(made, Shard())
    assert caught.value.reason == "STATE_DAMAGED"


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    made, _, _ = a_pass(tmp_path)
    left = folder_of(tmp_path, made.plan)
    left.mkdir(parents=True)
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = os.uname().nodename
    dead, alive, elsewhere, other = (
        left / f"{name}.part"
        for name in (f"0-of-1.{ended.pid}@{here}", f"0-of-1.1@{here}", f"0-of-1.{ended.pid}@elsewhere", "1-of-2.5")
    )
    for path in (dead, alive, elsewhere, other):
        path.write_bytes(b"half")
    run_part(made, Shard())
    assert [path.exists() for path in (dead, alive, elsewhere, other)] == [False, True, True, True]


@pytest.mark.parametrize(
    ("wanted", "reason", "says"),
    [
        (Wanted(top=0), "TOP_INVALID", "choose 1 to 22"),
        (Wanted(top=COUNT + 1), "TOP_INVALID", "23 pictures of each unit cannot be kept of a dataset of 22"),
        (Wanted(batch=0), "BATCH_INVALID", "0 pictures are no batch"),
        (Wanted(samples=-1), "SAMPLES_INVALID", "-1 pictures are no sample"),
        (Wanted(("deep", "x" * 5000)), "LAYER_UNKNOWN", "it has layer, deep"),
    ],
)
def test_what_cannot_be_wanted_is_refused(tmp_path: Path, wanted: Wanted, reason: str, says: str) -> None:
    _, dataset, subject = a_pass(tmp_path)
    with pytest.raises(InvalidRequestError) as caught:
        Pass.of(subject, dataset, tmp_path, wanted)
    assert caught.value.reason == reason
    assert says in caught.value.message
    assert len(caught.value.message) < 400
    assert isinstance(caught.value, NotFoundError) == (reason == "LAYER_UNKNOWN")


def test_layers_are_in_the_subjects_order_and_samples_no_more_than_pictures(tmp_path: Path) -> None:
    _, dataset, subject = a_pass(tmp_path)
    plan = Pass.of(subject, dataset, tmp_path, Wanted(("deep", "layer"), samples=1000)).plan
    assert [layer.name for layer in plan.layers] == ["layer", "deep"]
    assert plan.samples == COUNT
    assert Pass.of(subject, dataset, tmp_path, Wanted(("deep",))).plan.layers[0].map_height == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_last_state_whole(tmp_path: Path, small_disk: Path) -> None:
    whole = passed(a_pass(tmp_path / "elsewhere")[0], 1)
    made, _, subject = a_pass(small_disk)
    filling = small_disk / "filling"
    path = folder_of(small_disk, made.plan) / Shard().file_name

    def fill(step: Step) -> None:
        if step.done == 12:
            filling.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize - 4096))

    with pytest.raises(PreconditionError) as caught:
        run_part(made, Shard(), on_step=fill, checkpoint_s=0)
    assert caught.value.reason == "STORE_UNWRITABLE"
    assert f"nothing can be written in {path.parent}" in caught.value.message
    assert "make room there" in caught.value.message
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    state = State.load(path)
    assert state is not None
    assert state.next_batch == 2
    filling.unlink()
    looked = len(subject.batches)
    assert passed(made, 1) == whole
    assert subject.batches[looked][0] == 8


def test_a_full_disk_at_the_end_leaves_no_set_and_keeps_the_pass(tmp_path: Path, small_disk: Path) -> None:
    whole = passed(a_pass(tmp_path / "elsewhere")[0], 1)
    made, dataset, subject = a_pass(small_disk)
    run_part(made, Shard())
    filling = small_disk / "filling"
    filling.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_bsize - 8192))
    with pytest.raises(PreconditionError, match="nothing can be written in") as caught:
        finish(made.plan, dataset, 1, small_disk)
    assert caught.value.reason == "STORE_UNWRITABLE"
    assert files_of(small_disk / "sets") == {}
    assert ExemplarStore(small_disk).manifests() == []
    filling.unlink()
    looked = len(subject.batches)
    assert passed(made, 1) == whole
    assert len(subject.batches) == looked


def test_parts_are_cut_where_batches_are() -> None:
    made, _, _ = a_pass(Path())
    for count in range(1, 12):
        covered = [number for index in range(count) for number in Shard(index, count).batches(made.plan)]
        assert covered == list(range(made.plan.batches))


@given(st.integers(1, 3000), st.integers(0, 600))
def test_the_sample_is_a_fixed_choice_of_its_size(size: int, samples: int) -> None:
    made, _, _ = a_pass(Path())
    plan = Plan.model_validate({**made.plan.model_dump(), "size": size, "samples": samples})
    chosen = plan.sample()
    assert len(set(chosen.tolist())) == len(chosen) == min(samples, size)
    assert chosen.tolist() == sorted(chosen.tolist())
    assert not len(chosen) or (chosen[0] >= 0 and chosen[-1] < size)
    assert plan.model_copy(update={"subject": "other"}).sample().tolist() == chosen.tolist()


def test_the_sample_is_not_the_datasets_beginning() -> None:
    made, _, _ = a_pass(Path())
    chosen = made.plan.model_copy(update={"size": 100_000, "samples": 1000}).sample()
    assert abs(chosen.mean() - 50_000) < 4000
    assert np.bincount(chosen // 10_000).min() > 60
