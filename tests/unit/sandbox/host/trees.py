"""The processes that a host launches, for tests that end them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from maia.sandbox import Host
from maia.sandbox.host.tiers.forked import ForkedTier


def launched(host: Host) -> int:
    """The first of them, with which all others end in a jail."""
    assert isinstance(host._tier, ForkedTier)
    process = host._tier._process
    assert process is not None
    return process.pid


def children(pid: int) -> list[int]:
    """Of all its threads."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def runs(pid: int) -> bool:
    """Whether a process has not ended; one that only waits to be reaped, by whoever adopted it, has."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "State:\tZ" not in status


def kill_all_sessions(host: Host) -> None:
    """As the kernel does when it runs out of memory; returns when they are dead, before the host can notice."""
    first = launched(host)
    killed = first, *descendants(first)
    os.kill(first, signal.SIGKILL)
    until = time.monotonic() + 10
    while any(map(runs, killed)):
        assert time.monotonic() < until, killed
        time.sleep(0.001)
