"""How long `maia --help` takes, and how large the installations are."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.table import show

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Print the figures."""
    rows = [("maia --help, median of 9", "< 0.5 s", f"{_help_seconds():.2f} s")]
    for extra, bound in (("", "< 400 MB"), ("[demo]", "< 1,500 MB")):
        rows.append(
            (f"fresh venv, base{' and demo with CPU torch' if extra else ''}", bound, f"{_installed_mb(extra):,.0f} MB")
        )
    show(rows)


def _help_seconds() -> float:
    command = [str(Path(sys.executable).parent / "maia"), "--help"]
    seconds = []
    for _ in range(9):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _installed_mb(extra: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(Path(folder) / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), f"{ROOT}{extra}"], check=True, capture_output=True)
        # As `du` counts: blocks on disk.
        return sum(path.lstat().st_blocks * 512 for path in Path(folder).rglob("*")) / 1e6
