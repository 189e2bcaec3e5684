"""Servers as child processes: started together, ended in reverse order, gone when their parent is gone.

A child announces its actual address in one line of JSON on standard output, so that it may listen on any free port, and
stops when its standard input closes, so that it does not outlive us however we end. It is the first of a session of its
own: Ctrl-C in the terminal reaches only the parent, which ends what it is doing before it ends its servers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from maia.cli.errors import USAGE, ServerDiedError

READY_S: Final = 120.0
"""How long a server may take until it serves; the first import of torch from a cold disk takes most of it."""

STOP_S: Final = 15.0
"""How long a server may take to end; it drains for up to 10 s."""

_TAIL_LINES: Final = 12
_TAIL_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """What to start: `python -m maia.services.<name>` with flags of its own."""

    name: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Child:
    """A server that serves."""

    name: str
    address: str
    process: Process = field(repr=False)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid


class Children:
    """The servers that this command has started; leaving the block ends them.

    Args:
        logs: Folder for their logs, one `<name>.log` each. None: their last lines are told when one dies, and no file
            outlives us, however we end.
        environment: Their environment.
    """

    def __init__(self, logs: Path | None, environment: Mapping[str, str]) -> None:
        self._logs = logs
        self._environment = environment
        self._processes: list[tuple[str, Process]] = []
        self._files = contextlib.ExitStack()
        self._open_logs: dict[str, IO[bytes]] = {}
        self.running: list[Child] = []

    async def __aenter__(self) -> Self:
        if self._logs is not None:
            self._logs.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for _, process in reversed(self._processes):
                await _end(process)
        finally:
            # Interrupted once more while they were draining: nobody waits any longer.
            for _, process in self._processes:
                _kill(process)
            self._files.close()

    async def start(self, commands: Sequence[ServerCommand]) -> list[Child]:
        """Start servers side by side and wait until each serves.

        Raises:
            ServerDiedError: One ended instead, or was not ready within `READY_S`.
        """
        launched = [(command, await self._launch(command)) for command in commands]
        children = await asyncio.gather(*(self._ready(command.name, process) for command, process in launched))
        self.running += children
        return children

    async def wait_for_an_end(self) -> ServerDiedError:
        """Wait until any of the servers has ended, and return what to say of it."""
        waits = {asyncio.ensure_future(child.process.wait()): child for child in self.running}
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self._died(waits[done.pop()].name, "ended")

    def check(self) -> None:
        """Raise if a server has ended.

        Raises:
            ServerDiedError: With the last lines of its log.
        """
        for name, process in self._processes:
            if process.returncode is not None:
                raise self._died(name, "ended")

    async def _launch(self, command: ServerCommand) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"maia.services.{command.name}",
            "--announce",
            "--end-with-stdin",
            *command.flags,
            stdin=PIPE,
            stdout=PIPE,
            stderr=self._log(command.name),
            env=self._environment,
            start_new_session=True,
        )
        self._processes.append((command.name, process))
        return process

    async def _ready(self, name: str, process: Process) -> Child:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = await process.stdout.readline()
                if not line:
                    await process.wait()
        except TimeoutError:
            raise self._died(name, f"was not ready within {READY_S:g} s") from None
        if not line:
            raise self._died(name, "ended while it started")
        return Child(name, str(json.loads(line)["address"]), process)

    def _log(self, name: str) -> IO[bytes]:
        if name not in self._open_logs:
            named = self._logs and self._logs / f"{name}.log"
            file = named.open("w+b") if named else tempfile.TemporaryFile()  # noqa: SIM115  # the stack closes it
            self._open_logs[name] = self._files.enter_context(file)
        return self._open_logs[name]

    def _died(self, name: str, how: str) -> ServerDiedError:
        code = next((process.returncode for each, process in self._processes if each == name), None)
        ended = "" if code is None else f" (signal {-code})" if code < 0 else f" (exit code {code})"
        lines = _tail(self._log(name))
        if code == USAGE and lines and lines[-1].startswith("error: "):
            # A wrong setting; the server has put it into one line already.
            return ServerDiedError(f"the {name} server: {lines[-1].removeprefix('error: ')}", mendable=True)
        shown = "".join(f"\n  {line}" for line in lines) or " (its log is empty)"
        return ServerDiedError(f"the {name} server {how}{ended}; the end of its log:{shown}", mendable=False)


async def _end(process: Process) -> None:
    """Ask a process to stop and wait until it has, or kill it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await process.wait()
        except TimeoutError:
            _kill(process)
            await process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _kill(process: Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def _tail(log: IO[bytes]) -> list[str]:
    """The last lines of a file, as far as they fit into a screen."""
    # The server writes at the position that it shares with us, so nothing here may move it.
    size = os.fstat(log.fileno()).st_size
    text = os.pread(log.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode(errors="replace")
    return [line for line in text.splitlines() if line.strip()][-_TAIL_LINES:]
