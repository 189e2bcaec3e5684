"""What runs on the machines of a Ray cluster: one unit of a batch, and the board that all units write on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from maia.orchestrator.batch import spent_before
from maia.orchestrator.budget import Spending
from maia.orchestrator.clients import Addresses
from maia.orchestrator.endings import stopped_by
from maia.orchestrator.errors import LOCKED
from maia.orchestrator.events import Event, Finished, Stopped, UnitName
from maia.orchestrator.journal import encode_line
from maia.orchestrator.pausing import Pause
from maia.orchestrator.run import RunSettings, investigate_unit
from maia.orchestrator.stored import JournalStore, investigate_stored
from maia.orchestrator.wiring import AgentSettings, SandboxSettings, open_lab
from maia.sandbox import SandboxError
from maia.wire.errors import MaiaError
from maia.wire.logs import configure_logs

__all__ = ["Asked", "Board", "Ended", "UnitTask", "run_unit"]

_REPORT_S: Final = 0.5
_ANSWER_S: Final = 10.0

STOP: Final = "stop"
"""What the board says to end at once; anything else that it says is why to pause."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a worker must know to investigate a unit.

    Attributes:
        addresses: Of the servers.
        agent: The backbone; its keys show in no repr.
        sandbox: Where code is run.
        settings: How.
        store: Address of the store of journals.
        unit: Which unit.
    """

    addresses: Addresses
    agent: AgentSettings
    sandbox: SandboxSettings
    settings: RunSettings
    store: str | None = None
    unit: UnitName | None = None


@dataclass(frozen=True, slots=True)
class UnitTask:
    """A unit to investigate.

    Attributes:
        key: Names it on the board.
        packed: The pickled `Asked`, with keys.
        folder: Where the command runs: what relative names are relative to, where this machine has it too.
    """

    key: str
    packed: bytes = field(repr=False)
    folder: str

    @classmethod
    def of(cls, key: str, packed: bytes) -> UnitTask:
        """Name a unit's task."""
        return cls(key, packed, str(Path.cwd()))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended.

    Attributes:
        line: The end, as a journal's line.
        locked: Why the unit was left alone; empty where it was not.
        spending: Of all workers that were at the unit; None where it is not known.
    """

    line: bytes = b""
    locked: str = ""
    spending: Spending | None = None


class Board:
    """An actor: what tasks have journaled since somebody looked, and whether all are to pause or stop."""

    def __init__(self) -> None:
        """Nobody has begun."""
        self._lines: list[tuple[str, bytes]] = []
        self._heard: Counter[str] = Counter()
        self._word = ""

    def report(self, key: str, worker: str, first: int, lines: list[bytes]) -> str:
        """Write down events, those that were not before, and read whether to pause or stop.

        Args:
            key: Of the task.
            worker: Names one process's work on it.
            first: Number of the first line among those of the worker, from 0; a report is sent again if its answer was
                late.
            lines: As in the journal.
        """
        new = lines[max(0, self._heard[worker] - first) :]
        self._heard[worker] = max(self._heard[worker], first + len(lines))
        self._lines += [(key, line) for line in new]
        return self._word

    def look(self, *, pause: str, stop: bool) -> list[tuple[str, bytes]]:
        """Take what was written.

        Args:
            pause: Why all are to pause; empty if they are not.
            stop: Tell all to stop at once.
        """
        self._word = STOP if stop else self._word or pause
        lines, self._lines = self._lines, []
        return lines


def run_unit(task: UnitTask, board: Any) -> Ended:  # noqa: ANN401  (a handle of Ray, which has no type of ours)
    """Investigate a unit, or go on with what its journal holds after a worker that died.

    Args:
        task: What to do.
        board: Handle of the `Board`.
    """
    configure_logs(level="warning")
    with contextlib.suppress(OSError):  # on a machine without it, what is relative is reported as missing
        os.chdir(task.folder)
    asked: Asked = pickle.loads(task.packed)  # noqa: S301  (our own command's)
    try:
        return asyncio.run(_investigated(asked, task.key, board))
    except asyncio.CancelledError:
        return _ended(asked, Stopped("interrupted", "INTERRUPTED", "stopped before its end"))
    except (MaiaError, SandboxError) as error:
        if isinstance(error, MaiaError) and error.reason == LOCKED:
            return Ended(locked=error.message)
        return _ended(asked, stopped_by(error))


def _ended(asked: Asked, end: Finished | Stopped) -> Ended:
    assert asked.unit is not None
    return Ended(encode_line(end), spending=spent_before(asked.settings.folder(asked.unit)))


async def _investigated(asked: Asked, key: str, board: Any) -> Ended:  # noqa: ANN401
    assert asked.unit is not None
    pause = Pause()
    store = None if asked.store is None else JournalStore(asked.store)
    async with _reporting(key, board, pause) as heard, open_lab(asked.addresses, asked.agent, asked.sandbox) as lab:
        if store is None:
            end = await investigate_unit(asked.unit, lab, asked.settings, heard, pause=pause)
        else:
            end = await investigate_stored(store, asked.unit, lab, asked.settings, heard, pause=pause)
    return _ended(asked, end)


@asynccontextmanager
async def _reporting(key: str, board: Any, pause: Pause) -> AsyncIterator[Callable[[Event], None]]:  # noqa: ANN401
    """Yield what hears of events; the board's word pauses or cancels this task.

    A thread speaks with the board: while the main thread waited for an answer, Ray would think its processor free.
    """
    import ray

    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None
    lines: list[bytes] = []
    over, worker = threading.Event(), uuid.uuid4().hex
    sent, stopped = 0, False

    def report() -> None:
        nonlocal sent, stopped
        some = lines[sent:]
        # Ray sets a board up anew that was lost with its machine; until then nobody hears of the unit.
        try:
            word = ray.get(board.report.remote(key, worker, sent, some), timeout=_ANSWER_S)
        except ray.exceptions.RayError:
            return
        sent += len(some)
        if word == STOP and not stopped and not over.is_set():
            stopped = True
            loop.call_soon_threadsafe(main.cancel)
        elif word and not over.is_set():
            loop.call_soon_threadsafe(pause.ask, word)

    def speak() -> None:
        while not over.wait(_REPORT_S):
            report()
        report()

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield lambda event: lines.append(encode_line(event))
    finally:
        over.set()
        await asyncio.to_thread(speaker.join)
