"""What the sandbox costs: medians of many, printed."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.table import show

from maia.sandbox import Host, Limits, Session, Tool

TWENTY_LINES = "\n".join(f"value_{i} = [n * {i} for n in range(10)]\ntotal = sum(value_{i}) + {i}" for i in range(10))


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def picture(side: int) -> bytes:
    """Bytes of a picture."""
    return bytes(side * side * 3)


TO_REACH = {
    "open a session to first result": "≤ 20 ms",
    "warm empty block, policy on / off": "≤ 2 ms",
    "warm 20-line block, policy on / off": "≤ 2 ms",
}

TOOLS = [Tool.of(add), Tool.of(picture)]


async def timed(what: Callable[[], Awaitable[object]], times: int) -> float:
    """Median milliseconds of one call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        await what()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


async def open_to_first_result(host: Host) -> None:
    async with await host.open(tools=TOOLS) as session:
        assert (await session.run("print(add(1, 2))")).output == "3\n"


def private_memory(session: Session) -> float:
    """MiB that a session does not share with the zygote; needs root, since guests are not dumpable."""
    lines = Path(f"/proc/{session.pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024


async def per_call(session: Session, call: str, times: int) -> float:
    """Milliseconds of one tool call within a block, as the guest's own clock shows; the block is set up once."""
    loop = f"for _ in range({times}):\n    {call}\n"
    code = f"import time\nstart = time.perf_counter()\n{loop}print(time.perf_counter() - start)"
    return float((await session.run(code)).output) / times * 1000


async def hard_kill(host: Host) -> float:
    """Seconds from the limit to the outcome of a block that cannot be stopped softly."""
    async with await host.open(limits=Limits(wall_s=0.2)) as session:
        start = time.perf_counter()
        await session.run("sum(range(10**12))")
        return time.perf_counter() - start - 0.2


async def measure() -> list[tuple[str, str]]:
    """Measure everything on one host."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for label in ("start a host, first time", "start a host, root planned"):
            start = time.perf_counter()
            async with Host(cache_dir=Path(cache)):
                rows.append((label, f"{time.perf_counter() - start:.2f} s"))
        async with Host(cache_dir=Path(cache)) as host:
            rows.append(
                ("open a session to first result", f"{await timed(lambda: open_to_first_result(host), 50):.1f} ms")
            )
            async with await host.open(tools=TOOLS) as session, await host.open(tools=TOOLS, policy="off") as plain:
                for name, code in (("empty", "pass"), ("20-line", TWENTY_LINES)):
                    on = await timed(lambda: session.run(code), 200)  # noqa: B023  awaited within the iteration
                    off = await timed(lambda: plain.run(code), 200)  # noqa: B023  the same
                    rows.append((f"warm {name} block, policy on / off", f"{on:.2f} / {off:.2f} ms"))
                rows.append(("tool call", f"{await per_call(session, 'add(1, 2)', 500):.2f} ms"))
                rows.append(("tool call returning 1 MB", f"{await per_call(session, 'picture(591)', 50):.2f} ms"))
                try:
                    rows.append(("private memory of a session", f"{private_memory(session):.1f} MiB"))
                except PermissionError:
                    rows.append(("private memory of a session", "only root can see it"))
            rows.append(("hard kill after the limit", f"{await hard_kill(host):.2f} s"))
            sessions = [await host.open() for _ in range(100)]
            start = time.perf_counter()
            await asyncio.gather(*(session.run("x = 1") for session in sessions))
            rows.append(("100 open sessions, a block in each", f"{time.perf_counter() - start:.2f} s"))
    return rows


def main() -> None:
    """Print the table."""
    rows = asyncio.run(measure())
    show([(label, TO_REACH.get(label, ""), figure) for label, figure in rows])
