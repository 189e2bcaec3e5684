"""What a sandbox host holds on a machine at one moment, so that two moments can be compared."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tests.bench.processes import descendants, open_files, process_name

from maia.sandbox.host.tiers.docker.owners import LABEL, this_process

__all__ = ["KINDS", "Residue"]

CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Residue:
    """Each thing by a name that says what it is, with how many there are."""

    processes: Counter[str]
    descriptors: Counter[str]
    mounts: Counter[str]
    mount_namespaces: Counter[str]
    cgroups: Counter[str]
    files: Counter[str]
    containers: Counter[str]

    @classmethod
    def now(cls, folders: Sequence[Path]) -> Residue:
        """Look at this process, all that it started, and what there is on the machine.

        Args:
            folders: Where files might be left.
        """
        pids = [os.getpid(), *descendants()]
        return cls(
            processes=Counter(process_name(pid) for pid in pids),
            descriptors=Counter(f"{process_name(pid)}: {name}" for pid in pids for name in _open_files(pid)),
            mounts=Counter(_mounts()),
            mount_namespaces=Counter({"namespaces": len({_mount_namespace(pid) for pid in pids})}),
            cgroups=Counter(_cgroups()),
            files=Counter(
                str(Path(place) / name) for top in folders for place, _, names in os.walk(top) for name in names
            ),
            containers=Counter(_containers()),
        )

    def beyond(self, earlier: Residue) -> dict[str, Counter[str]]:
        """What there is more of than at the earlier moment, by kind."""
        return {field.name: getattr(self, field.name) - getattr(earlier, field.name) for field in fields(self)}

    def count(self, kind: str) -> int:
        """How many there are of one kind."""
        return int(getattr(self, kind).total())


def _open_files(pid: int) -> list[str]:
    try:
        return open_files(pid)
    except OSError:  # it has ended meanwhile, or only root can look
        return []


def _mounts() -> list[str]:
    """Where something is mounted; an engine's own mounts come and go with its containers, which are counted."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if not point.startswith(("/var/lib/docker/", "/run/docker/"))]


def _mount_namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/mnt").readlink())
    except OSError:
        return ""


def _cgroups() -> list[str]:
    """Those that this process made, without the numbers that tell one from another."""
    own = f"maia-{os.getpid()}-"
    return [folder.partition(own)[0] for folder, _, _ in os.walk(CGROUPS) if own in folder]


def _containers() -> list[str]:
    """Those that this process made, by their state."""
    command = ["docker", "ps", "--all", "--format={{.State}}", f"--filter=label={LABEL}={this_process()}"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return []


KINDS = tuple(field.name for field in fields(Residue))
