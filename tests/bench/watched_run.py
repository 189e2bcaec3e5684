"""`maia` with its event loop watched: how long a callback held it up, and the peak memory of the process.

    python -m tests.bench.watched_run FILE run --up …

writes both to FILE as JSON. Beside a callback's wall time stand its processor time, and the time that it was ready to
run while other processes had the processors: on a busy machine that is theirs, but waits for a disk or a lock are not.
Where root runs it, the threads of this process go before all others, as they would on a machine with processors enough:
otherwise one of them would hold Python's lock, and with it the event loop, while it waits for a processor.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from maia.cli.main import main

KEPT = 20


@dataclass(frozen=True, slots=True)
class Callback:
    """One that took longer than others: seconds, and its name."""

    blocked: float
    """The event loop waited for it, or for what it waited for: the wall time without `crowded`."""
    processor: float
    crowded: float
    """It could have run, and other processes had the processors."""
    name: str


def watched() -> list[Callback]:
    """Time every callback of every event loop; returns the list that grows."""
    seen: list[Callback] = []
    run = asyncio.Handle._run
    schedule = Schedule()

    def timed(handle: asyncio.Handle) -> None:
        wall, processor, crowded = time.perf_counter(), time.thread_time(), schedule.waited()
        run(handle)
        wall = time.perf_counter() - wall
        if wall > 0.01:
            processor, crowded = time.thread_time() - processor, schedule.waited() - crowded
            seen.append(Callback(wall - crowded, processor, crowded, repr(handle)))

    setattr(asyncio.Handle, "_run", timed)  # noqa: B010  its type is not public
    return seen


class Schedule:
    """How long the thread that asks has stood ready to run without a processor (Linux: its `schedstat`)."""

    def __init__(self) -> None:
        self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._thread = threading.get_ident()

    def waited(self) -> float:
        """Seconds so far."""
        if threading.get_ident() != self._thread:
            raise RuntimeError("the event loop runs in another thread than the one that is watched")
        return int(os.pread(self._file, 100, 0).split()[1]) / 1e9


def go_first() -> None:
    """Keep this process's threads, but none of its children, ahead of all other processes, if that is allowed."""
    first = os.sched_param(1)

    def keep() -> None:
        while True:
            for thread in Path("/proc/self/task").iterdir():
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    os.sched_setscheduler(int(thread.name), os.SCHED_RR | os.SCHED_RESET_ON_FORK, first)
            time.sleep(0.05)

    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, first)
        threading.Thread(target=keep, daemon=True).start()


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    go_first()
    found = watched()
    code = main(sys.argv[2:])
    longest = sorted(found, key=lambda one: one.blocked, reverse=True)[:KEPT]
    facts = {
        "code": code,
        "peak": peak_bytes(),
        "busiest": max((one.processor for one in found), default=0.0),
        "crowded": max((one.crowded for one in found), default=0.0),
        "longest": [asdict(one) for one in longest],
    }
    Path(sys.argv[1]).write_text(json.dumps(facts, indent=1))
    sys.exit(code)
