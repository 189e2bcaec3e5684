"""What a loaded set of servers answered, beside what an idle one answers."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.rpcs.process import serving
from tests.load.agents import Told, run_agents

TOLERANCE: Final = 0.01
"""Of activations, which are rounded to two decimals: what shares a batch changes a float's last bits."""


@dataclass(frozen=True)
class Load:
    """The figures of a run.

    Attributes:
        calls: Answered, of all agents.
        different: Answers that are not those of the serial run.
        seconds: That the agents took together.
        serial_s: That they took one after another.
        mean_wait_s: Over all calls.
        p99_wait_s: The longest but one in a hundred.
        unfairness: How far the mean wait of the agent that is furthest from the mean over all is from it, as a share.
            The waits are those between a call and its answer as the agent sees them; all agents make the same calls.
    """

    calls: int
    different: int
    seconds: float
    serial_s: float
    mean_wait_s: float
    p99_wait_s: float
    unfairness: float


def measure(folder: Path, *, agents: int, calls: int) -> Load:
    """Let agents work at once, and again one after another on servers that have answered nobody yet."""
    loaded, seconds = _run(folder / "loaded", agents, calls, at_once=True)
    serial, serial_s = _run(folder / "serial", agents, calls, at_once=False)
    different = sum(
        not alike(mine, other)
        for one, before in zip(loaded, serial, strict=True)
        for mine, other in zip(one.answers, before.answers, strict=True)
    )
    waits = sorted(wait for one in loaded for wait in one.waits_s)
    mean = statistics.fmean(waits)
    return Load(
        calls=len(waits),
        different=different,
        seconds=seconds,
        serial_s=serial_s,
        mean_wait_s=mean,
        p99_wait_s=waits[int(len(waits) * 0.99)],
        unfairness=max(abs(statistics.fmean(one.waits_s) / mean - 1) for one in loaded),
    )


def alike(mine: object, other: object) -> bool:
    """Whether two answers are the same within the tolerance."""
    if isinstance(mine, float) and isinstance(other, float):
        return math.isclose(mine, other, rel_tol=0, abs_tol=TOLERANCE + 1e-9)
    if isinstance(mine, list) and isinstance(other, list):
        return len(mine) == len(other) and all(map(alike, mine, other))
    return type(mine) is type(other) and mine == other


def _run(folder: Path, agents: int, calls: int, *, at_once: bool) -> tuple[list[Told], float]:
    (folder / "servers").mkdir(parents=True)
    with serving(folder / "servers") as server:
        started = time.perf_counter()
        told = asyncio.run(run_agents(server.address, folder / "journals", agents=agents, calls=calls, at_once=at_once))
        seconds = time.perf_counter() - started
        assert not (faults := server.faults()), faults
    return told, seconds
