"""Builds on a Ray cluster of this machine: the same set, workers that die, stops, and what cannot be joined."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.bench.processes import descendants, process_name
from tests.unit.services.building.networks import SLOWNESS
from tests.unit.services.building.planted import files_of
from tests.unit.services.building.test_program import NETWORKS, ended, flags, noise, start

from maia.services.building import ray_engine
from maia.services.building.build import Build, Built, build, merge
from maia.services.building.datasets.dataset import open_dataset
from maia.services.building.passing import Step, Wanted
from maia.services.building.plan import Shard
from maia.services.building.ray_engine import Cluster, build_on_ray
from maia.services.building.ray_part import Board, Failure
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.wire.errors import (
    CancelledError,
    InvalidRequestError,
    MaiaError,
    NotFoundError,
    OverloadedError,
    PreconditionError,
)

pytest.importorskip("ray", reason="the extra ray is not installed")

COUNT = 40
SMALL = Wanted(batch=4, top=3, samples=7)
"""As `flags` says it."""

ON_RAY = ("--engine", "ray", "--shards", 2, "--checkpoint-s", 0)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("data") / "noise", COUNT)


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The set of a pass in one process."""
    store = tmp_path_factory.mktemp("one")
    code, _, err = ended(start(*flags(pictures, store)))
    assert code == 0, err
    return files_of(store / "sets")


def measured(process: subprocess.Popen[str], least: int) -> int:
    """Wait until so many pictures are measured."""
    assert process.stdout is not None
    for line in process.stdout:
        fact = json.loads(line)
        if fact.get("doing") == "measuring" and fact["done"] >= least:
            return int(fact["done"])
    raise AssertionError(process.communicate()[1])


def workers(pid: int) -> list[int]:
    """Processes that do a part."""
    return [child for child in descendants(pid) if process_name(child) == "ray::run"]


def test_a_worker_that_dies_is_replaced_and_the_set_is_the_same(
    pictures: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    process = start(*flags(pictures, tmp_path), *ON_RAY, **{SLOWNESS: "0.4"})
    measured(process, 8)
    first = workers(process.pid)
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    code, facts, err = ended(process)
    assert code == 0, err
    assert "Traceback" not in err
    done = [fact["done"] for fact in facts if fact.get("doing") == "measuring"]
    assert done[-1] == COUNT
    assert facts[-1]["built"]
    assert files_of(tmp_path / "sets") == whole
    assert not list(tmp_path.glob("passes/*"))
    assert not descendants(process.pid)


def test_parts_that_are_stopped_save_what_is_done(pictures: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    process = start(
        *flags(pictures, tmp_path), "--engine", "ray", "--shards", 3, "--threads-per-task", 1, **{SLOWNESS: "0.5"}
    )
    before = measured(process, 8)
    process.terminate()
    code, _, err = ended(process)
    assert code == 1
    assert err.startswith("error: stopped after ")
    assert err.endswith(f" of {COUNT} pictures; the same command goes on from there\n")
    stopped_after = int(err.split()[3])
    assert before <= stopped_after < COUNT
    assert files_of(tmp_path / "sets") == {}
    steps: list[Step] = []
    for index in range(3):  # goes on without the cluster
        build(asked(pictures, tmp_path, subject=f"{NETWORKS}:slow", shard=Shard(index, 3), wanted=SMALL), steps.append)
    assert 4 * sum(step.doing == "measuring" for step in steps) >= COUNT - stopped_after > 0
    assert sum(step.doing == "measuring" for step in steps) < COUNT / 4
    merge(Build("", str(pictures), tmp_path))
    assert files_of(tmp_path / "sets") == whole


def test_what_fails_on_the_cluster_says_the_same_as_here(pictures: Path, tmp_path: Path) -> None:
    made = ("build", "--model", f"{NETWORKS}:nowhere", "--layers", "1", "--dataset", pictures, "--store", tmp_path)
    says = []
    for more in ((), ("--engine", "ray", "--shards", 2)):
        code, _, err = ended(start(*made, "--device", "cpu", "--json", *more))
        assert code == 2
        says.append(err)
    assert "answers to 0000.png with what is no number" in says[0]
    assert says[1].replace("0032.png", "0000.png") == says[0]


def asked(pictures: Path, store: Path, **changed: Any) -> Build:
    options = NetworkOptions(device="cpu")
    return replace(Build(f"{NETWORKS}:tiny", str(pictures), store, Wanted(batch=4, top=3), options=options), **changed)


def refusal(made: Build, cluster: Cluster) -> MaiaError:
    with pytest.raises(MaiaError) as caught:
        build_on_ray(made, cluster)
    assert "\n" not in caught.value.message
    return caught.value


def test_without_ray_the_extra_is_named(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    error = refusal(asked(pictures, tmp_path), Cluster())
    assert (error.reason, error.metadata["extra"]) == ("EXTRA_MISSING", "ray")
    assert "pip install 'maia[ray]'" in error.message


@pytest.mark.parametrize("address", ["nonsense", "host", ":6379", "host:", "host:70000", "ray://host", "host:0", ""])
def test_what_is_no_address_is_refused(pictures: Path, tmp_path: Path, address: str) -> None:
    error = refusal(asked(pictures, tmp_path), Cluster(address))
    assert isinstance(error, InvalidRequestError)
    assert error.reason == "RAY_ADDRESS_INVALID"


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "[::1]:{}"])
def test_an_address_where_nobody_is_is_told_at_once(pictures: Path, tmp_path: Path, form: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        error = refusal(asked(pictures, tmp_path), Cluster(form.format(taken.getsockname()[1])))
    assert isinstance(error, PreconditionError)
    assert error.reason == "RAY_UNREACHABLE"
    assert "no Ray cluster can be joined at" in error.message


@pytest.mark.parametrize(
    ("cluster", "reason"), [(Cluster(parts=0), "SHARD_INVALID"), (Cluster(threads=-1), "THREADS_INVALID")]
)
def test_too_few_are_refused(pictures: Path, tmp_path: Path, cluster: Cluster, reason: str) -> None:
    assert refusal(asked(pictures, tmp_path), cluster).reason == reason


def test_the_dataset_is_looked_at_before_a_cluster_is_joined(tmp_path: Path) -> None:
    for dataset in ("gone", "~nobody-at-all", ""):
        error = refusal(asked(Path(), tmp_path, dataset=dataset), Cluster("192.0.2.1:1"))
        assert error.reason == "DATASET_MISSING"


@dataclass
class Machines:
    """What Ray tells of a cluster."""

    resources: list[dict[str, float]]
    dead: list[dict[str, float]] = field(default_factory=list)

    def nodes(self) -> list[dict[str, object]]:
        alive = [{"Alive": True, "Resources": resources} for resources in self.resources]
        return [*alive, *({"Alive": False, "Resources": resources} for resources in self.dead)]


@pytest.mark.parametrize(
    ("resources", "cluster", "expected"),
    [
        ([{"CPU": 8.0}], Cluster(), (1, 8, 0)),
        ([{"CPU": 8.0}], Cluster(parts=3), (3, 2, 0)),
        ([{"CPU": 2.0}], Cluster(parts=5), (5, 1, 0)),
        ([{"CPU": 8.0}] * 4, Cluster(parts=2), (2, 8, 0)),
        ([{"CPU": 8.0}] * 4, Cluster(), (4, 8, 0)),
        ([{"CPU": 8.0}] * 4, Cluster(parts=8, threads=3), (8, 3, 0)),
        ([{"CPU": 64.0}, {"CPU": 8.0, "GPU": 2.0}], Cluster(), (2, 4, 1)),
        ([{"CPU": 16.0, "GPU": 8.0}] * 2, Cluster(parts=4), (4, 8, 1)),
    ],
)
def test_a_part_never_needs_more_than_a_machine_has(
    resources: list[dict[str, float]], cluster: Cluster, expected: tuple[int, int, int]
) -> None:
    division = ray_engine._divided(Machines(resources, dead=[{"CPU": 500.0, "GPU": 9.0}]), cluster)
    assert (division.parts, division.threads, division.gpus) == expected


def test_more_threads_than_the_machines_with_gpus_have_are_refused() -> None:
    machines = Machines([{"CPU": 64.0}, {"CPU": 8.0, "GPU": 1.0}])
    with pytest.raises(InvalidRequestError, match="the largest has 8"):
        ray_engine._divided(machines, Cluster(threads=9))


def parts(made: Build, count: int) -> list[Built]:
    return [build(replace(made, shard=Shard(index, count))) for index in range(count)]


def test_parts_of_different_versions_are_not_merged(pictures: Path, tmp_path: Path) -> None:
    made = asked(pictures, tmp_path)
    done = parts(made, 2)
    assert done[1].plan is not None
    other = replace(done[1], plan=done[1].plan.model_copy(update={"subject_revision": "another"}))
    dataset = open_dataset(str(pictures), store=tmp_path)
    with pytest.raises(PreconditionError, match=r"parts 0 and 1 are of different passes .* and another of") as caught:
        ray_engine._merged(made, dataset, [done[0], other], print)
    assert caught.value.reason == "PARTS_DIFFER"


def test_a_set_that_was_there_is_left_as_it_is(pictures: Path, tmp_path: Path) -> None:
    made = asked(pictures, tmp_path)
    first = build(made)
    found = parts(made, 2)
    assert [one.anew for one in found] == [False, False]
    merged = ray_engine._merged(made, open_dataset(str(pictures), store=tmp_path), found, print)
    assert (merged.manifest, merged.anew) == (first.manifest, False)


@pytest.mark.parametrize("count", [1, 2])
def test_a_store_that_is_not_shared_is_found_out(pictures: Path, tmp_path: Path, count: int) -> None:
    done = parts(asked(pictures, tmp_path / "there"), count)
    here = asked(pictures, tmp_path / "here")
    dataset = open_dataset(str(pictures), store=tmp_path)
    with pytest.raises(PreconditionError, match="must be one folder that all machines of the cluster share") as caught:
        ray_engine._merged(here, dataset, done, print)
    assert caught.value.reason == "STORE_NOT_SHARED"


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("no", reason="LAYER_UNKNOWN", metadata={"layer": "x"}),
        OverloadedError("later"),
        CancelledError("stopped"),
    ],
)
def test_an_error_is_the_same_after_its_way(error: MaiaError) -> None:
    back = Failure.of(error).error()
    assert type(back) is type(error)
    assert (back.message, back.reason, back.metadata) == (error.message, error.reason, error.metadata)


def test_the_board_tells_what_is_done_and_passes_a_stop_on() -> None:
    board = Board()
    assert not board.report(1, 4)
    assert not board.report(0, 8)
    assert board.look(stop=False) == {0: 8, 1: 4}
    assert not board.report(1, 12)
    assert board.look(stop=True) == {0: 8, 1: 12}
    assert board.report(0, 9)
    board.look(stop=False)
    assert board.report(0, 9)
