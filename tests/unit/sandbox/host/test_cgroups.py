"""Control groups: found, bounded in the words of either version, used by sessions, removed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from maia.sandbox import Host, Limits
from maia.sandbox.host.cgroups import Cgroup, Cgroups, find_cgroups

LIMITS = Limits(memory_mb=100, tmp_mb=10, threads=5, cpus=0.5)


def made_up(folder: Path, *, unified: bool) -> Path:
    folder.mkdir()
    if unified:
        (folder / "cgroup.controllers").write_text("cpu memory pids\n")
    return folder


def test_bounds_in_the_words_of_version_2(tmp_path: Path) -> None:
    group = made_up(tmp_path / "group", unified=True)
    Cgroup(dict.fromkeys(("memory", "pids", "cpu"), group)).bound(LIMITS)
    written = {file.name: file.read_text().strip() for file in group.iterdir()}
    assert int(written["memory.max"]) >= (2 * 100 + 10) << 20  # a checkpoint may double a guest's memory
    assert written["memory.swap.max"] == "0"
    assert written["cpu.max"] == "50000 100000"
    assert 5 < int(written["pids.max"]) < 15


def test_bounds_in_the_words_of_version_1(tmp_path: Path) -> None:
    places = {name: made_up(tmp_path / name, unified=False) for name in ("memory", "pids", "cpu")}
    Cgroup(places).bound(LIMITS)
    assert int((places["memory"] / "memory.limit_in_bytes").read_text()) >= (2 * 100 + 10) << 20
    assert (places["cpu"] / "cpu.cfs_quota_us").read_text() == "50000"
    assert 5 < int((places["pids"] / "pids.max").read_text()) < 15


def test_a_place_that_cannot_be_divided_is_named() -> None:
    feature = Cgroups({}, "memory (/sys/fs/cgroup/x is not this user's to divide)").feature
    assert not feature.enforced
    assert "/sys/fs/cgroup/x" in feature.detail


def test_what_killed_hosts_left_is_removed_and_what_live_ones_have_is_not() -> None:
    found = find_cgroups()
    if not found.parents:
        pytest.skip(f"no cgroup can be made here: {found.missing}")
    parent = next(iter(found.parents.values()))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    orphan, ours = parent / f"maia-{child.pid}-1", parent / f"maia-{os.getpid()}-999999"
    orphan.mkdir()
    ours.mkdir()
    try:
        find_cgroups()
        assert not orphan.exists()
        assert ours.exists()
    finally:
        ours.rmdir()


def groups_of(pid: int) -> dict[str, str]:
    return dict(row.split(":", 2)[1:] for row in Path(f"/proc/{pid}/cgroup").read_text().splitlines())


@pytest.mark.asyncio(loop_scope="session")
async def test_all_processes_of_a_session_are_in_one_group_and_it_goes_with_them(host: Host) -> None:
    if not {feature.name: feature.enforced for feature in host.features}["cgroup"]:
        pytest.skip("no cgroup can be made here")
    async with await host.open(limits=LIMITS) as session:
        await session.run("x = 1")
        assert session._checkpointing is not None
        await session._checkpointing
        assert session.pid is not None
        groups = groups_of(session.pid)
        parents = find_cgroups().parents
        names = {Path(groups.get(controller, groups.get("", ""))).name for controller in parents}
        (name,) = names
        assert name.startswith(f"maia-{os.getpid()}-")
        for directory in set(parents.values()):
            assert len((directory / name / "cgroup.procs").read_text().split()) == 3  # supervisor, guest, checkpoint
    for _ in range(500):
        async with await host.open():  # each opening removes what has become empty
            if not any((directory / name).exists() for directory in parents.values()):
                return
        await asyncio.sleep(0.01)
    pytest.fail("the group is left")
