"""Many sessions at once for a long time, doing well and badly, and then: is anything left behind?

`python -m tests.bench.soak_sandbox` takes about an hour; with `--sessions 4 --blocks 200` a moment. Ends with 1 if
anything leaked or a session answered wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import rich
from tests.bench.processes import descendants, open_files, private_mb
from tests.bench.residue import KINDS, Residue
from tests.bench.soak_blocks import ADDS, LATE, LIMITS, TOOLS, Deed, choose
from tests.bench.table import grid
from tests.bench.tiers import drop_idle_connections, settle

from maia.sandbox import Host, Session, SessionError, State
from maia.sandbox.host.host import Policy
from maia.sandbox.host.tiers.choice import TierName

__all__ = ["Report", "soak"]

_PR_SET_CHILD_SUBREAPER = 36

SETTLE_S = 20.0
"""What is still there after so long has leaked."""


@dataclass(slots=True)
class Tally:
    """What has been done, and what went wrong."""

    blocks: int = 0
    deeds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    late: int = 0
    wrong: list[str] = field(default_factory=list)


class Agent:
    """Drives one session after another, and knows what their variable must hold."""

    def __init__(self, host: Host, chance: random.Random, tally: Tally, ready: asyncio.Barrier) -> None:
        """Nothing happens yet.

        Args:
            host: Opens its sessions.
            chance: Decides what they do.
            tally: Of all agents.
            ready: Where it waits once, with its first session open.
        """
        self._host = host
        self._chance = chance
        self._tally = tally
        self._ready: asyncio.Barrier | None = ready
        self._total = 0
        self._cut_short: set[str] = set()

    async def live(self, blocks: int, end: float) -> None:
        """Run so many blocks, or until that moment, in one session at least."""
        left = blocks
        while left > 0 and (time.monotonic() < end or self._ready is not None):
            left -= await self._one_session(left, end)

    async def _one_session(self, most: int, end: float) -> int:
        """Open one and use it until it is lost, or 1 to 200 blocks are done; returns how many were."""
        planned = min(most, self._chance.randint(1, 200))
        policy: Policy = self._chance.choice(("restricted", "off"))
        self._tally.opened += 1
        done = 0
        async with await self._host.open(tools=TOOLS, limits=LIMITS, policy=policy) as session:
            ready, self._ready = self._ready, None
            if ready is not None:
                await ready.wait()
            await session.run("total = 0")
            self._total = 0
            self._cut_short = set()
            while session.alive and done < planned and time.monotonic() < end:
                done += 1
                await self._do(session, choose(self._chance))
        return done

    async def _do(self, session: Session, deed: Deed) -> None:
        amount = self._chance.randint(1, 9)
        self._tally.blocks += 1
        self._tally.deeds[deed.name] += 1
        try:
            async with _meddling(session, deed):
                outcome = await session.run(deed.code.replace("{add}", str(amount)))
        except SessionError as error:
            if deed.close_after_s is None:
                self._tally.wrong.append(f"{deed.name}: {error}")
            return
        self._tally.ends[outcome.status.value] += 1
        self._tally.states[outcome.state.value] += 1
        if outcome.status not in deed.ends:
            if outcome.status in LATE:
                self._tally.late += 1
                self._cut_short.add(deed.name)
            elif deed.name not in self._cut_short:  # else an import may have been left half done
                self._tally.wrong.append(f"{deed.name}: {outcome.status.value}, {outcome.message[-300:]}")
        if outcome.ok and deed.name == ADDS:
            self._total += amount
            if outcome.output != f"{self._total}\n":
                self._tally.wrong.append(f"{deed.name}: {outcome.output!r} instead of {self._total}")
        if not outcome.ok and outcome.state is not State.LOST:
            await self._recall(session, deed, amount)

    async def _recall(self, session: Session, deed: Deed, amount: int) -> None:
        """Whatever happened, the variable is what it was, unless the outcome said that it is lost."""
        outcome = await session.run("print(total)")
        possible = {self._total, self._total + amount} if deed.name == ADDS else {self._total}
        if outcome.ok and outcome.output not in {f"{total}\n" for total in possible}:
            self._tally.wrong.append(f"after {deed.name}: {outcome.output!r} instead of {self._total}")
        elif outcome.ok:
            self._total = int(outcome.output)


@contextlib.asynccontextmanager
async def _meddling(session: Session, deed: Deed) -> AsyncIterator[None]:
    """Interrupt or close the session while the body runs a block."""

    async def interrupt(after_s: float) -> None:
        await asyncio.sleep(after_s)
        session.interrupt()

    async def close(after_s: float) -> None:
        await asyncio.sleep(after_s)
        await session.close()

    async with AsyncExitStack() as stack:
        if deed.interrupt_after_s is not None:
            task = asyncio.create_task(interrupt(deed.interrupt_after_s))
            stack.callback(task.cancel)
        if deed.close_after_s is not None:
            stack.push_async_callback(asyncio.wait, [asyncio.create_task(close(deed.close_after_s))])
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a soak found.

    Attributes:
        tally: What was done.
        took_s: How long.
        before: What the machine held before there was a host.
        idle: With a host whose sessions are closed.
        busy: With all sessions open; shows that what is counted is there to be seen.
        idle_after: As `idle`, after the soak.
        after: Without a host again.
    """

    tally: Tally
    took_s: float
    before: Residue
    idle: Residue
    busy: Residue
    idle_after: Residue
    after: Residue

    @property
    def leaked(self) -> dict[str, Counter[str]]:
        """What is left, by kind: of the sessions while the host still ran, and of the host."""
        of_sessions, of_host = self.idle_after.beyond(self.idle), self.after.beyond(self.before)
        return {kind: of_sessions[kind] + of_host[kind] for kind in KINDS if of_sessions[kind] or of_host[kind]}


async def soak(
    *, tier: TierName, sessions: int, blocks: int, minutes: float, seed: int = 0, progress_s: float = 30
) -> Report:
    """Run so many blocks in so many sessions at once, and compare what the machine holds before and after.

    Args:
        tier: How they are isolated.
        sessions: Open at once.
        blocks: In all.
        minutes: When to stop at the latest.
        seed: Of what the sessions do.
        progress_s: How often a line is printed; 0 prints none.
    """
    tally = Tally()
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, _files_in(folder), _orphans_adopted():
        folders, cache = [Path(folder)], Path(folder) / "cache"
        async with Host(tier=tier, cache_dir=cache):
            pass  # what only the first host makes, such as the cache, is no leak
        before = Residue.now(folders)
        async with Host(tier=tier, cache_dir=cache) as host:

            def agents(tally: Tally, ready: asyncio.Barrier) -> list[Agent]:
                return [Agent(host, random.Random(f"{seed} {i}"), tally, ready) for i in range(sessions)]

            await _share(sessions, agents(Tally(), asyncio.Barrier(sessions)), start + 60)
            idle = await _settled(folders, host=host)
            all_open = asyncio.Barrier(sessions + 1)
            async with _progress(tally, progress_s), asyncio.TaskGroup() as group:
                group.create_task(_share(blocks, agents(tally, all_open), start + minutes * 60))
                await all_open.wait()
                busy = Residue.now(folders)
            idle_after = await _settled(folders, idle, host)
        after = await _settled(folders, before)
    return Report(
        tally=tally,
        took_s=time.monotonic() - start,
        before=before,
        idle=idle,
        busy=busy,
        idle_after=idle_after,
        after=after,
    )


async def _share(blocks: int, agents: list[Agent], end: float) -> None:
    """Let agents run so many blocks together."""
    await asyncio.gather(*(agent.live(-(-blocks // len(agents)), end) for agent in agents))


@contextlib.contextmanager
def _files_in(folder: str) -> Iterator[None]:
    """Have temporary files made there, by children too."""
    environment, tempfile.tempdir = os.environ.get("TMPDIR"), folder
    os.environ["TMPDIR"] = folder
    try:
        yield
    finally:
        tempfile.tempdir = None
        del os.environ["TMPDIR"]
        if environment is not None:
            os.environ["TMPDIR"] = environment


@contextlib.contextmanager
def _orphans_adopted() -> Iterator[None]:
    """Let orphans of what is started become children of this process, so that none escapes the count."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0)


async def _settled(folders: list[Path], earlier: Residue | None = None, host: Host | None = None) -> Residue:
    """What there is once nothing is beyond what there was, or after SETTLE_S.

    Args:
        folders: Where files might be left.
        earlier: What there was; None waits until nothing changes.
        host: Opens a session each time: some of what a session leaves is swept up when the next one opens.
    """
    end = time.monotonic() + SETTLE_S
    last: Residue | None = None
    while True:
        await asyncio.sleep(0.3)
        if host is not None:
            await (await host.open(limits=LIMITS)).close()
            await settle(host)
            drop_idle_connections(host)
            await asyncio.sleep(0.3)
        now = Residue.now(folders)
        if time.monotonic() > end or now == last or (earlier is not None and not any(now.beyond(earlier).values())):
            return now
        last = now if earlier is None else None


@contextlib.asynccontextmanager
async def _progress(tally: Tally, every_s: float) -> AsyncIterator[None]:
    """Print now and then how far it is."""

    async def tell() -> None:
        start = time.monotonic()
        while True:
            await asyncio.sleep(every_s)
            seconds = time.monotonic() - start
            rich.print(
                f"{seconds:5.0f} s: {tally.blocks:,} blocks, {tally.opened:,} sessions, {tally.late} late, "
                f"{len(tally.wrong)} wrong; {len(descendants())} processes, {len(open_files(os.getpid()))} descriptors "
                f"and {private_mb(os.getpid()):.0f} MB of the host"
            )

    task = asyncio.create_task(tell()) if every_s else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()


def main() -> None:
    """Soak as the command line says, and print what is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak_sandbox", description=__doc__)
    parser.add_argument("--tier", default="jail")
    parser.add_argument("--sessions", type=int, default=20, help="open at once")
    parser.add_argument("--blocks", type=int, default=100_000, help="in all")
    parser.add_argument("--minutes", type=float, default=60, help="when to stop at the latest")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    report = asyncio.run(soak(**vars(given)))
    _print(report)
    sys.exit(1 if report.leaked or report.tally.wrong else 0)


def _print(report: Report) -> None:
    tally = report.tally
    rich.print(
        f"{tally.blocks:,} blocks in {tally.opened:,} sessions, {report.took_s / 60:.1f} min, {tally.late} of them late"
    )
    for what, counts in (("blocks", tally.deeds), ("ends", tally.ends), ("states", tally.states)):
        rich.print(f"{what}: " + ", ".join(f"{name} {count:,}" for name, count in counts.most_common()))
    moments = (report.before, report.idle, report.busy, report.idle_after, report.after)
    rows = []
    for kind in KINDS:
        left = report.leaked.get(kind)
        rows.append((kind.replace("_", " "), *(str(m.count(kind)) for m in moments), _few(left) if left else "nothing"))
    grid(("on this machine", "before the host", "idle", "busy", "idle afterwards", "after the host", "left"), rows)
    for line in tally.wrong[:20]:
        rich.print(f"[red]wrong[/red]: {line}")


def _few(left: Counter[str]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in left.most_common(4))


if __name__ == "__main__":
    main()
