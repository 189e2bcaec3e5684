"""What the kernel says about processes: who is below whom, who lives, what CPU time they have had."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["below", "cpu_s", "living", "of_session"]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STATE, _PARENT, _USER_TIME, _SYSTEM_TIME = 0, 1, 11, 12


def _fields(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the name; none if there is no such process any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def living(pids: Iterable[int]) -> set[int]:
    """Those that have not ended; the dead that nobody has collected do not count."""
    return {pid for pid in pids if (fields := _fields(pid)) and fields[_STATE] not in (b"Z", b"X")}


def below(root: int) -> set[int]:
    """The living children of a process, theirs and so on."""
    found: set[int] = set()
    waiting = [root]
    while waiting:
        pids = _children(waiting.pop()) - found
        found |= pids
        waiting += pids
    return living(found)


def _children(pid: int) -> set[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return {int(child) for thread in threads for child in (thread / "children").read_text().split()}
    except OSError:  # it has ended meanwhile
        return set()


def of_session(pid: int | None) -> set[int]:
    """A session's supervisor and all below it; nothing where a tier does not show the guest's process."""
    fields = [] if pid is None else _fields(pid)
    if not fields:
        return set()
    supervisor = int(fields[_PARENT])
    return {supervisor, *below(supervisor)}


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that they have had."""
    times = [fields for pid in pids if (fields := _fields(pid))]
    return sum(int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME]) for fields in times) / _TICKS_PER_S
