"""Sessions without namespaces, for hosts that refuse them: Landlock, seccomp and rlimits hold the guest alone."""

from __future__ import annotations

from typing import Final

from maia.sandbox.host.tiers.forked import ForkedTier
from maia.sandbox.host.tiers.tier import Feature

__all__ = ["LandlockTier"]

_FEATURES: Final = (
    Feature("namespaces", enforced=False, detail="none: names of files and sizes of host directories can be seen by path"),
    Feature("root", enforced=False, detail="the host's own; Landlock lets a session read its packages and write its own folder"),
    Feature("/tmp", enforced=False, detail="a folder of the host's disk for each session; bounded for each file, not in total"),
    Feature("privileges", enforced=True, detail="a user of its own where the host is root and everyone can read the installation; no capabilities, not dumpable"),
    Feature("limits", enforced=True, detail="address space, files, file size by the kernel; wall clock, CPU, output by the host"),
    Feature("threads", enforced=False, detail="counted for each session where it has a user of its own, else bounded by a cgroup only"),
)


class LandlockTier(ForkedTier):
    """Landlock, seccomp and rlimits."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        super().__init__("landlock", _FEATURES)
