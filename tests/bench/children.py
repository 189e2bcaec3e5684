"""Python processes that a bench starts and speaks with by lines; what they log is shown if they fail."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO

__all__ = ["Child", "child"]

SHOWN_BYTES = 4000
"""Of the end of what it logged."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process, seen from here."""

    _process: Process
    _logged: IO[bytes]

    def tell(self, line: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")

    async def line(self) -> str:
        """Return the next line that it prints.

        Raises:
            RuntimeError: It has ended instead.
        """
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            self._logged.seek(0)
            raise RuntimeError(f"a process has ended too early: {self._logged.read()[-SHOWN_BYTES:].decode()}")
        return line.decode()


@asynccontextmanager
async def child(*arguments: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
    """Start Python; its standard input is closed in the end, and it is waited for.

    Args:
        arguments: Of the interpreter.
        environment: Besides this process's.
    """
    with tempfile.TemporaryFile() as logged:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=logged,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield Child(process, logged)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()
