"""64 units at once in one process: its peak memory, and how long its event loop was held up.

The scripted agent, the scene world's servers, pages and the live view are as `maia run --up` has them; each unit's
sandbox and each server is a process of its own and does not count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.table import show

UNITS = "mono=0-43:or=0-19"
"""All 64 of two layers of scene-neurons."""


def main() -> None:
    """Print the figures."""
    run = ["run", "--up", "--model", "scene-neurons", "--units", UNITS, "--jobs", "64"]
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "facts.json"
        watched = [sys.executable, "-m", "tests.bench.watched_run", str(facts), *run, "--out", f"{folder}/out"]
        ended = subprocess.run(watched, check=False, capture_output=True, text=True)
        if not facts.exists():
            sys.exit(f"maia run failed: {ended.stderr[-2000:]}")
        told = json.loads(facts.read_text())
    longest = told["longest"][0] if told["longest"] else {"blocked": 0.0, "processor": 0.0}
    show(
        [
            ("64 units at once, scripted, one process: peak memory", "< 1.5 GB", f"{told['peak'] / 1e9:.2f} GB"),
            (
                "the same, longest time that the event loop was blocked",
                "< 100 ms",
                f"{longest['blocked'] * 1000:.0f} ms, of which {longest['processor'] * 1000:.0f} ms on the processor",
            ),
            ("longest that it stood ready while others had the processors", "", f"{told['crowded'] * 1000:.0f} ms"),
            ("most that one callback computed", "< 100 ms", f"{told['busiest'] * 1000:.0f} ms"),
        ]
    )
