"""Control groups: what bounds all of a session's processes together, where this host may make them.

cgroup v1 and v2 (cgroups(7)): the groups lie below the one that this process is in, or below `parent` of the unified
hierarchy where an operator has delegated one. In v2 a group that delegates to others may hold no process of its own, so
a host that is alone in its group moves itself one level down first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maia.sandbox.host.tiers.tier import Feature

if TYPE_CHECKING:
    from maia.sandbox.limits import Limits

__all__ = ["Cgroup", "Cgroups", "find_cgroups"]

_CONTROLLERS: Final = ("memory", "pids", "cpu")
_PERIOD_US: Final = 100_000
_SPARE_TASKS: Final = 4
_SPARE_MB: Final = 96
"""For what is a session's own beside its guest's variables: the supervisor, page tables, kernel memory."""

_CLOSE_PAUSES_S: Final = (0.01, 0.05, 0.2, 1.0, 3.0)
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One session's group.

    Attributes:
        places: Its directory for each controller; in v2 the same one.
    """

    places: dict[str, Path]

    @property
    def directories(self) -> tuple[Path, ...]:
        """Each once."""
        return tuple(dict.fromkeys(self.places.values()))

    def bound(self, limits: Limits) -> None:
        """Write its bounds.

        Args:
            limits: memory_mb, tmp_mb, threads and cpus count. A checkpoint may double the memory.

        Raises:
            OSError: The kernel does not take them.
        """
        for controller, directory in self.places.items():
            _bound(controller, directory, limits)

    def remove(self) -> bool:
        """Remove it, unless a process is in it still. Returns whether it is gone."""
        gone = True
        for directory in self.directories:
            try:
                directory.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


@dataclass(slots=True)
class Cgroups:
    """Where a host makes its sessions' groups.

    Attributes:
        parents: A directory for each controller that this host may use; in v2 the same one.
        missing: Why there is no more.
    """

    parents: dict[str, Path]
    missing: str
    _made: list[Cgroup] = field(default_factory=list)

    @property
    def feature(self) -> Feature:
        """For people."""
        if not self.parents:
            return Feature("cgroup", enforced=False, detail=f"{self.missing}; limits hold for each process by itself")
        rest = f"; not {self.missing}" if self.missing else ""
        return Feature(
            "cgroup", enforced=True, detail=f"{', '.join(self.parents)} of a session's processes together{rest}"
        )

    def make(self, pid: int) -> Cgroup | None:
        """Make a group, as yet without bounds, and put a process in it with the children that it has and will have.

        Args:
            pid: Of this pid namespace.

        Returns:
            None where no group can be made.
        """
        if not self.parents or not pid:
            return None
        name = f"maia-{os.getpid()}-{next(_numbers)}"
        group = Cgroup({controller: parent / name for controller, parent in self.parents.items()})
        try:
            for directory in group.directories:
                directory.mkdir()
            for directory in group.directories:
                (directory / "cgroup.procs").write_text(str(pid))
            for directory in group.directories:
                for child in _children_of(pid):  # born before their parent was moved
                    (directory / "cgroup.procs").write_text(child)
        except OSError:
            group.remove()
            return None
        self._made.append(group)
        return group

    def sweep(self) -> None:
        """Remove the groups whose processes have all gone; others are left for the next time."""
        self._made = [group for group in self._made if not group.remove()]

    async def close(self) -> None:
        """Remove them all; their processes have been killed."""
        for pause in _CLOSE_PAUSES_S:
            self.sweep()
            if not self._made:
                return
            await asyncio.sleep(pause)


def _bound(controller: str, directory: Path, limits: Limits) -> None:
    """Write one controller's limits, in the words of its version."""
    unified = (directory / "cgroup.controllers").exists()
    match controller:
        case "memory":
            most = (2 * limits.memory_mb + limits.tmp_mb + _SPARE_MB) << 20
            if unified:
                (directory / "memory.max").write_text(str(most))
                _try_write(directory / "memory.swap.max", "0")
            else:
                (directory / "memory.limit_in_bytes").write_text(str(most))
                _try_write(directory / "memory.memsw.limit_in_bytes", str(most))
        case "pids":
            (directory / "pids.max").write_text(str(limits.threads + _SPARE_TASKS))
        case "cpu":
            quota = max(int(limits.cpus * _PERIOD_US), 1000)
            if unified:
                (directory / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
            else:
                (directory / "cpu.cfs_quota_us").write_text(str(quota))


def _children_of(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return []


def _try_write(file: Path, text: str) -> None:
    with contextlib.suppress(OSError):  # a kernel that does not count swap
        file.write_text(text)


def find_cgroups() -> Cgroups:
    """Look for where this process may make groups."""
    own = _own_groups()
    parents = {}
    missing = []
    for controller in _CONTROLLERS:
        directory = own.get(controller)
        if directory is None:
            missing.append(f"{controller} (no such controller here)")
        elif not os.access(directory, os.W_OK) or not _makes_groups(directory):
            missing.append(f"{controller} ({directory} is not this user's to divide)")
        else:
            parents[controller] = directory
            _remove_orphans(directory)
    return Cgroups(parents, ", ".join(missing))


def _remove_orphans(parent: Path) -> None:
    """Remove what hosts left that were killed; the kernel keeps a group that has a process in it."""
    for directory in parent.glob("maia-*-*"):
        host = directory.name.split("-")[1]
        if host.isdigit() and not Path("/proc", host).exists():
            with contextlib.suppress(OSError):
                directory.rmdir()


def _own_groups() -> dict[str, Path]:
    """The directory of this process's group, by controller."""
    mounts = _mounts()
    found = {}
    for row in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = row.split(":", 2)
        for name in names.split(",") if names else ("",):
            if name in mounts:
                found[name] = mounts[name] / path.lstrip("/")
    unified = found.pop("", None)
    if unified is not None:
        for name in _divided(unified):
            found.setdefault(name, unified)
    return {name: directory for name, directory in found.items() if directory.is_dir()}


def _mounts() -> dict[str, Path]:
    """Where each v1 controller is mounted, and under the empty name the v2 hierarchy."""
    mounts = {}
    for row in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = row.partition(" - ")
        kind, _, options = after.split(" ", 2)
        point = Path(before.split()[4])
        if kind == "cgroup2":
            mounts[""] = point
        elif kind == "cgroup":
            for option in options.split(","):
                if option in _CONTROLLERS:
                    mounts[option] = point
    return mounts


def _divided(unified: Path) -> list[str]:
    """The controllers that children of a v2 group have, handed down if this process may."""
    wanted: list[str] = []
    try:
        available = (unified / "cgroup.controllers").read_text().split()
        wanted += (name for name in _CONTROLLERS if name in available)
        shared = (unified / "cgroup.subtree_control").read_text().split()
        if not wanted or set(wanted) <= set(shared):
            return wanted
        if (unified / "cgroup.procs").read_text().split() == [str(os.getpid())]:
            leaf = unified / f"maia-host-{os.getpid()}"
            leaf.mkdir(exist_ok=True)
            (leaf / "cgroup.procs").write_text(str(os.getpid()))
        (unified / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    except OSError:
        return []
    return wanted


def _makes_groups(directory: Path) -> bool:
    probe = directory / f"maia-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True
