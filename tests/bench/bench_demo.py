"""`maia demo` after set-up: how long it takes, how soon the first experiment runs, and its peak memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.table import show

POLL_S = 0.1


def main() -> None:
    """Print the figures."""
    maia = str(Path(sys.executable).parent / "maia")
    subprocess.run([maia, "exemplars", "build"], check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        demo = subprocess.Popen([maia, "demo", "--out", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        first, peak = 0.0, 0
        while demo.poll() is None:
            peak = max(peak, _memory_of_tree(demo.pid))
            first = first or (time.perf_counter() - started if _experimenting(Path(folder)) else 0.0)
            time.sleep(POLL_S)
        seconds = time.perf_counter() - started
    if demo.returncode:
        sys.exit(f"maia demo failed with exit code {demo.returncode}")
    show(
        [
            ("maia demo after set-up, four units", "< 90 s", f"{seconds:.1f} s"),
            ("first experiment running", "< 8 s", f"{first:.1f} s"),
            ("peak memory of all processes (PSS)", "< 3 GB", f"{peak / 1e9:.2f} GB"),
        ]
    )


def _experimenting(folder: Path) -> bool:
    return any(b'"kind":"block_started"' in journal.read_bytes() for journal in folder.rglob("journal.jsonl"))


def _memory_of_tree(root: int) -> int:
    """Sum the proportional memory of a process and all that descend from it, in bytes."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
            children.setdefault(parent, []).append(int(entry.name))
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        total += _pss(pid)
    return total


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
