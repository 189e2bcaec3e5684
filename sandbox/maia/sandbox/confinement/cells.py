"""Cells that make nothing of their own: the container or the bare process around them is all there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from maia.sandbox.confinement.surrender import Files, Filters, GuestEnds, surrender

__all__ = ["OpenCell", "PlainCell"]

_KERNELS_OWN = frozenset({"proc", "sys"})


@dataclass(slots=True)
class PlainCell:
    """Inside a container: what the container does not bound, rlimits, Landlock and a second seccomp filter do."""

    filters: Filters
    proc: int = -1

    def before_fork(self) -> None:
        """Nothing to prepare."""

    def after_fork(self) -> None:
        """Nothing to undo."""

    def enter_session(self) -> None:
        """The container is the session's own."""
        self.proc = _open_proc()

    def bound_session(self, limits: dict[str, int]) -> None:
        """The container was made with its bounds."""

    def enter_guest(self, ends: GuestEnds, output: int, limits: dict[str, int]) -> GuestEnds:
        """Give up /proc and /sys too, where there is Landlock."""
        shown = [str(path) for path in Path("/").iterdir() if path.name not in _KERNELS_OWN]
        files = Files(readable=shown, writable=["/tmp", "/dev/null"])  # noqa: S108  the container's own
        # Threads are counted by the container's cgroup: nobody is the same user in all containers of a machine.
        return surrender(ends, output, limits, proc=self.proc, tasks=None, files=files, filters=self.filters)

    def enter_supervisor(self) -> None:
        """The container has no capability to give up."""

    def leave_session(self) -> None:
        """The container goes with the session."""


@dataclass(slots=True)
class OpenCell:
    """No isolation: limits of the process, and that is all."""

    proc: int = -1

    def before_fork(self) -> None:
        """Nothing to prepare."""

    def after_fork(self) -> None:
        """Nothing to undo."""

    def enter_session(self) -> None:
        """Nothing of its own."""
        self.proc = _open_proc()

    def bound_session(self, limits: dict[str, int]) -> None:
        """Nothing is shared."""

    def enter_guest(self, ends: GuestEnds, output: int, limits: dict[str, int]) -> GuestEnds:
        """Bound memory, files and descriptors."""
        return surrender(ends, output, limits, proc=self.proc, tasks=None, files=None, filters=None)

    def enter_supervisor(self) -> None:
        """Nothing to give up."""

    def leave_session(self) -> None:
        """Nothing to remove."""


def _open_proc() -> int:
    """A descriptor of /proc, or -1 where there is none."""
    try:
        return os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
