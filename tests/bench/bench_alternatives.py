"""The sandbox beside what people use instead, in turn: a Jupyter kernel, `docker run` per block, smolagents' executor.

All run the same blocks, each with its packages imported before the clock starts where it can (the jail's zygote, the
agent's process of smolagents), so that what is compared is what each does for a session and for a block.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial

import rich
from tests.bench.measures import CALM_S, block_times, first_result, overrun
from tests.bench.others import DockerRun, Jupyter, Smolagents
from tests.bench.runtimes import HALF_GIGABYTE, Opened, Runtime, UnavailableError
from tests.bench.table import grid
from tests.bench.tiers import Tier
from tests.bench.timing import Times, in_turn

Figures = dict[str, dict[str, str]]
"""Cells by figure and runtime."""


async def measure(runtimes: list[Runtime], figures: Figures) -> None:
    """Measure those that work here; the others are told of."""
    async with AsyncExitStack() as stack:
        there: dict[str, Runtime] = {}
        for runtime in runtimes:
            try:
                there[runtime.name] = await stack.enter_async_context(runtime)
            except UnavailableError as error:
                rich.print(f"{runtime.name}: not measured. {error}")
        openings = {name: partial(first_result, runtime) for name, runtime in there.items()}
        _note(figures["open a session to its first result"], await in_turn(openings, rounds=50, pause_s=CALM_S))
        await _blocks(there, figures, "pass", "block of 20 lines")
        stateful = {name: runtime for name, runtime in there.items() if runtime.name != DockerRun.name}
        await _blocks(stateful, figures, HALF_GIGABYTE, "the same with 500 MB of variables")
        for name, runtime in there.items():
            await _kill(name, runtime, figures)


async def _blocks(runtimes: Mapping[str, Runtime], figures: Figures, setup: str, label: str) -> None:
    async with AsyncExitStack() as stack:
        sessions: dict[str, Opened] = {}
        for name, runtime in runtimes.items():
            sessions[name] = await runtime.open()
            stack.push_async_callback(sessions[name].close)
            await sessions[name].run(setup)
        for pace, times in (await block_times(sessions, rounds=40)).items():
            _note(figures[f"{label}, {pace}"], times)


async def _kill(name: str, runtime: Runtime, figures: Figures) -> None:
    """A block that never ends: how long after its limit can the next one run, and what does that find?"""
    goes_on, there = figures["a runaway block goes on after its limit"], figures["and earlier variables are kept"]
    try:
        ends = [await overrun(runtime) for _ in range(3)]
    except UnavailableError as error:
        goes_on[name] = str(error)
        return
    _note(goes_on, {name: Times(tuple(seconds for seconds, _ in ends))})
    there[name] = "yes" if all(kept for _, kept in ends) else "no"


def _note(cells: dict[str, str], times: Mapping[str, Times]) -> None:
    """Each figure beside how many times that of the first it is."""
    first = next(iter(times.values())).median_ms
    for name, value in times.items():
        ratio = value.median_ms / first
        cells[name] = (
            str(value) if ratio == 1 else f"{value}  {ratio:,.2g} ×" if ratio < 10 else f"{value}  {ratio:,.0f} ×"
        )


def main() -> None:
    """Print the tables."""
    runtimes: list[Runtime] = [
        Tier("jail"),
        Jupyter(),
        DockerRun(),
        Smolagents(),
    ]
    figures: Figures = defaultdict(dict)
    asyncio.run(measure(runtimes, figures))
    grid(
        ("", "what stands between the code and this machine"),
        [(runtime.name, runtime.isolates) for runtime in runtimes],
    )
    print("\nmilliseconds, median and (90th percentile), and how many times the first")
    columns = [runtime.name for runtime in runtimes]
    grid(
        ("figure", *columns),
        [(name, *(cells.get(column, "-") for column in columns)) for name, cells in figures.items()],
    )
