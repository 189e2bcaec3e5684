"""`python -m maia.services.building build …`, watched: how fast it goes once it goes, and how much memory it took."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.children import child

__all__ = ["peak_mb", "rate"]

_BUILDER = "maia.services.building"


def _flags(model: str, dataset: Path, store: Path) -> Sequence[str]:
    made = ("build", "--model", model, "--dataset", str(dataset), "--store", str(store))
    return (*made, "--device", "cpu", "--end-with-stdin")


async def rate(model: str, dataset: Path, store: Path, *flags: str, threads: int) -> float:
    """Return the pictures per second of a pass, from its first to its last: no loading, nothing of what follows."""
    program = ("-m", "tests.bench.without_torchvision", _BUILDER)
    environment = {"OMP_NUM_THREADS": str(threads)}
    seen: list[tuple[float, int]] = []
    async with child(*program, *_flags(model, dataset, store), "--json", *flags, environment=environment) as process:
        while True:
            fact = json.loads(await process.line())
            if "built" in fact:
                break
            if fact["doing"] == "measuring" and fact["done"] and (not seen or fact["done"] > seen[-1][1]):
                seen.append((time.perf_counter(), fact["done"]))
    (first, some), (last, every) = seen[0], seen[-1]
    return (every - some) / (last - first)


async def peak_mb(model: str, dataset: Path, store: Path, *flags: str) -> float:
    """Return the most memory that a build took."""
    async with child("-m", __name__, *_flags(model, dataset, store), *flags) as process:
        return float(json.loads(await process.line())) / 1024


def main() -> None:
    """Build as the arguments say, and print the most kilobytes that this process had."""
    from maia.services.building.__main__ import main as build

    if code := build(sys.argv[1:]):
        sys.exit(code)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main()
