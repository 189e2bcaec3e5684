"""`maia` with its event loop watched: how long a callback held it up, and the peak memory of the process.

    python -m tests.bench.watched_run FILE run --up …

writes both to FILE as JSON. A callback's processor time is told beside its wall time: on a machine with more processes
than processors, the rest of the wall time is theirs. Waits for a disk are in the wall time alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from maia.cli.main import main

KEPT = 20


def watched() -> list[tuple[float, float, str]]:
    """Time every callback of every event loop; returns the list that grows: wall seconds, processor seconds, name."""
    seen: list[tuple[float, float, str]] = []
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        wall, processor = time.perf_counter(), time.thread_time()
        run(handle)
        wall, processor = time.perf_counter() - wall, time.thread_time() - processor
        if wall > 0.01:
            seen.append((wall, processor, repr(handle)))

    setattr(asyncio.Handle, "_run", timed)  # noqa: B010  its type is not public
    return seen


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    found = watched()
    code = main(sys.argv[2:])
    longest = sorted(found, reverse=True)[:KEPT]
    busiest = max((processor for _, processor, _ in found), default=0.0)
    facts = {"code": code, "peak": peak_bytes(), "busiest": busiest, "longest": longest}
    Path(sys.argv[1]).write_text(json.dumps(facts, indent=1))
    sys.exit(code)
