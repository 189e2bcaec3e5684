"""Prints every figure that the project promises, measured in one run: `make bench`, or `python -m tests.bench NAME…`.

Nothing here asserts a time: machines differ and are noisy. Where another way of doing the same thing exists, a figure
is a ratio with both its sides.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time
from pathlib import Path

import rich


def main() -> None:
    """Run the benches named on the command line, or all."""
    every = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    chosen = sys.argv[1:] or every
    if unknown := set(chosen) - set(every):
        sys.exit(f"no bench {', '.join(sorted(unknown))}; there are: {', '.join(every)}")
    rich.print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in chosen:
        rich.print(f"\n[bold]{name}[/bold]")
        started = time.monotonic()
        importlib.import_module(f"tests.bench.bench_{name}").main()
        rich.print(f"[dim]({time.monotonic() - started:.0f} s)[/dim]")


main()
