"""Many open sessions in the jail: memory each, whether all answer; and what the fork of a checkpoint costs."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import rich
from tests.bench.processes import descendants, private_mb
from tests.bench.runtimes import FIRST, HALF_GIGABYTE, TWENTY_LINES, UnavailableError
from tests.bench.table import show
from tests.bench.tiers import Box, Tier
from tests.bench.timing import Times

from maia.sandbox import Session

MANY = 200

Rows = list[tuple[str, str, str]]


async def measure() -> Rows:
    """One host for all; the checkpoints first, while nothing else is open."""
    async with Tier("jail") as tier:
        rows = [
            ("fork of a checkpoint, no variables", "", await _checkpoints(tier, "pass")),
            ("fork of a checkpoint, 500 MB of arrays", "", await _checkpoints(tier, HALF_GIGABYTE)),
        ]
        return rows + await _many(tier)


async def _checkpoints(tier: Tier, setup: str) -> str:
    """Milliseconds from the outcome of a block until there is a checkpoint of what it left."""
    box = await tier.open()
    assert isinstance(box.session, Session)
    try:
        await box.run(setup)
        taken = []
        for _ in range(50):
            await box.run(TWENTY_LINES)
            start = time.perf_counter()
            await box.session._until_checkpointed()
            taken.append(time.perf_counter() - start)
        return f"{Times(tuple(taken))} ms"
    finally:
        await box.close()


async def _many(tier: Tier) -> Rows:
    idle = descendants()
    async with AsyncExitStack() as stack:
        start = time.perf_counter()
        boxes: list[Box] = []
        for _ in range(MANY):
            boxes.append(await tier.open())
            stack.push_async_callback(boxes[-1].close)
        opened = time.perf_counter() - start
        start = time.perf_counter()
        printed = await asyncio.gather(*(box.run(FIRST) for box in boxes))
        answered = time.perf_counter() - start
        await asyncio.sleep(1)  # their checkpoints
        rows = [
            (f"{MANY} sessions opened one after another, seconds", "", f"{opened:.1f}"),
            ("a block in each at once, all answered after, seconds", "", f"{answered:.2f}"),
            ("answers that are right", f"{MANY}", f"{printed.count('3' + chr(10))}"),
        ]
        return rows + _memory(descendants() - idle)


def _memory(pids: set[int]) -> Rows:
    """What the sessions' processes share with no other, a session's together."""
    try:
        held = {pid: private_mb(pid) for pid in pids}
    except PermissionError:
        return [("private memory of a session", "≤ 20 MB", "only root can see it")]
    return [
        ("processes of a session", "", f"{len(pids) / MANY:.1f}"),
        ("private memory of a session, all its processes", "≤ 20 MB", f"{sum(held.values()) / MANY:.1f} MB"),
    ]


def main() -> None:
    """Print the table."""
    try:
        show(asyncio.run(measure()))
    except UnavailableError as error:
        rich.print(f"not measured: {error}")
