"""Sessions without namespaces, for hosts that refuse them: Landlock, seccomp and rlimits hold the guest alone."""

from __future__ import annotations

from typing import Final

from maia.sandbox.host.tiers.forked import ForkedTier
from maia.sandbox.host.tiers.tier import Feature

__all__ = ["LandlockTier"]

_FEATURES: Final = tuple(
    Feature(name, enforced=enforced, detail=detail)
    for name, enforced, detail in (
        ("namespaces", False, "none: whether a path exists, and how large it is, can be seen everywhere on the host"),
        ("root", False, "the host's; Landlock lets a session read its packages, and write in a folder of its own"),
        ("folder", False, "on the host's disk; bounded for each file, not in total"),
        (
            "privileges",
            True,
            "a user of its own, if the host is root and all can read the installation; no capabilities",
        ),
        ("limits", True, "address space, files, file size by the kernel; wall clock, CPU, output by the host"),
        ("threads", False, "counted for each session where it has a user of its own, else bounded by a cgroup only"),
    )
)


class LandlockTier(ForkedTier):
    """Landlock, seccomp and rlimits."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        super().__init__("landlock", _FEATURES)
