"""The jail as a host starts it."""

from __future__ import annotations

from typing import Final

from maia.sandbox.host.tiers.forked import ForkedTier
from maia.sandbox.host.tiers.tier import Feature

__all__ = ["JailTier"]

_FEATURES: Final = tuple(
    Feature(name, enforced=True, detail=detail)
    for name, detail in (
        ("namespaces", "user, mount, pid, net, ipc, uts and cgroup: a session sees no other process, network or host"),
        (
            "root",
            "read-only, with the interpreter's library and the listed packages; no /proc, no /sys; a private /tmp",
        ),
        ("privileges", "user nobody, no capabilities, no new privileges, not dumpable"),
        (
            "limits",
            "address space, threads, files, file size and /tmp by the kernel; wall clock, CPU and output by the host",
        ),
    )
)


class JailTier(ForkedTier):
    """Namespaces, a root of its own, Landlock, seccomp, rlimits."""

    def __init__(self) -> None:
        """Nothing runs before `start`."""
        super().__init__("jail", _FEATURES)
