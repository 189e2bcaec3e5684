"""What the sandbox costs in each tier that works here: opening, a block, a tool call, a kill."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

import rich
from tests.bench.measures import CALM_S, block_times, first_result, overrun
from tests.bench.runtimes import HALF_GIGABYTE, UnavailableError
from tests.bench.table import grid
from tests.bench.tiers import Box, RemoteTier, Tier
from tests.bench.timing import Times, in_turn

from maia.sandbox import Tool
from maia.sandbox.host.host import Policy
from maia.sandbox.host.tiers.choice import TierName

TIERS: tuple[TierName, ...] = ("jail", "landlock", "docker", "gvisor")
POOLED = ("docker", "gvisor")

OPEN = "open a session to its first result"
COLD = "the same, no container ready"
BLOCK = "block of 20 lines"
TOOL = "tool call from the guest and back"
KILL = "a runaway block goes on after its limit"
KEPT = "and earlier variables are kept"

TO_REACH = {OPEN: "15; 30 docker", COLD: "800 docker", TOOL: "0.5; 2 remote", KILL: "500", KEPT: "yes"}

CALLS = 10
TIMED_CALLS = f"""
import time
taken = []
for _ in range({CALLS}):
    start = time.perf_counter()
    add(1, 2)
    taken.append(time.perf_counter() - start)
print(*taken)
"""

Figures = dict[str, dict[str, str]]
"""Cells by figure and runtime."""


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def measure(figures: Figures) -> None:
    """Measure every tier that works here, and fill in why the others do not."""
    async with AsyncExitStack() as stack:
        tiers: dict[str, Tier] = {}
        cold: dict[str, Tier] = {}
        tools = [Tool.of(add)]
        for tier in (*(Tier(name, tools=tools) for name in TIERS), RemoteTier("jail", tools=tools)):
            try:
                tiers[tier.name] = await stack.enter_async_context(tier)
                if tier.name in POOLED:
                    cold[tier.name] = await stack.enter_async_context(Tier(tier.tier, pool_size=0))
            except UnavailableError as error:
                rich.print(f"{tier.name}: not measured. {error}")
        for figure, opened in ((OPEN, tiers), (COLD, cold)):
            _note(
                figures[figure],
                await in_turn(
                    {name: partial(first_result, opened[name]) for name in opened}, rounds=50, pause_s=CALM_S
                ),
            )
        for policy in ("restricted", "off"):
            for setup, size in (("pass", ""), (HALF_GIGABYTE, ", 500 MB held")):
                await _blocks(tiers, figures, policy, setup, size)
        await _tool_calls(tiers, figures[TOOL])
        await _kills(tiers, figures)


async def _blocks(tiers: Mapping[str, Tier], figures: Figures, policy: Policy, setup: str, size: str) -> None:
    """Round trips of a block, in one session of each tier."""
    async with AsyncExitStack() as stack:
        sessions: dict[str, Box] = {}
        for name, tier in tiers.items():
            sessions[name] = await tier.open(policy=policy)
            stack.push_async_callback(sessions[name].close)
            await sessions[name].run(setup)
        label = f"{BLOCK}, policy {'on' if policy == 'restricted' else 'off'}{size}"
        for pace, times in (await block_times(sessions, rounds=40)).items():
            _note(figures[f"{label}, {pace}"], times)


async def _tool_calls(tiers: Mapping[str, Tier], cells: dict[str, str]) -> None:
    """As the guest's own clock shows them."""
    async with AsyncExitStack() as stack:
        sessions: dict[str, Box] = {}
        for name, tier in tiers.items():
            sessions[name] = await tier.open(policy="off")
            stack.push_async_callback(sessions[name].close)
        taken: dict[str, list[float]] = defaultdict(list)
        for _ in range(20):
            for name, session in sessions.items():
                taken[name] += [float(seconds) for seconds in (await session.run(TIMED_CALLS)).split()]
        _note(cells, {name: Times(tuple(seconds)) for name, seconds in taken.items()})


async def _kills(tiers: Mapping[str, Tier], figures: Figures) -> None:
    taken: dict[str, list[float]] = defaultdict(list)
    kept: dict[str, list[bool]] = defaultdict(list)
    for _ in range(5):
        for name, tier in tiers.items():
            seconds, there = await overrun(tier)
            taken[name].append(seconds)
            kept[name].append(there)
    _note(figures[KILL], {name: Times(tuple(seconds)) for name, seconds in taken.items()})
    figures[KEPT].update({name: "yes" if all(there) else "no" for name, there in kept.items()})


def _note(cells: dict[str, str], times: Mapping[str, Times]) -> None:
    cells.update({name: str(value) for name, value in times.items()})


def main() -> None:
    """Print the table."""
    figures: Figures = defaultdict(dict)
    asyncio.run(measure(figures))
    columns = [*TIERS, "jail, remote"]
    print("milliseconds, median and (90th percentile)")
    rows = [
        (figure, _to_reach(figure), *(cells.get(name, "-") for name in columns)) for figure, cells in figures.items()
    ]
    grid(("figure", "to reach", *columns), rows)


def _to_reach(figure: str) -> str:
    if figure.startswith(BLOCK):
        return "2.5; 2 more remote" if "policy on" in figure else "0.5; 2 more remote"
    return TO_REACH.get(figure, "")
