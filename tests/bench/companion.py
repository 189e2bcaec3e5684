"""What is compared with a server, in a process of its own as well: one that does the work with nothing around it.

    here: Companion.ask(seed=1, count=240) → a JSON line → there: answering(work) → seconds, as a JSON line

It prepares before its clock starts and tells how long the work itself took.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.children import Child, child

__all__ = ["Companion", "answering", "companion"]

QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""As the servers set it for themselves: beside other busy processes whoever does not is several times slower, and that
would be counted for the server."""


@dataclass(frozen=True, slots=True)
class Companion:
    """The process, seen from here."""

    _process: Child

    async def ask(self, **what: Any) -> float:
        """Have it do something; returns the seconds that it took."""
        self._process.tell(json.dumps(what))
        return float(json.loads(await self._process.line()))


@asynccontextmanager
async def companion(module: str, *arguments: str) -> AsyncIterator[Companion]:
    """Start a module of this package whose `__main__` ends in `answering`."""
    program = ("-m", "tests.bench.without_torchvision", f"tests.bench.{module}")
    async with child(*program, *arguments, environment=QUIET_THREADS) as process:
        yield Companion(process)


def answering(work: Callable[..., float]) -> None:
    """Do what each line of standard input says, until it ends.

    Args:
        work: Takes the names and values of a line; returns seconds.
    """
    for line in sys.stdin:
        print(json.dumps(work(**json.loads(line))), flush=True)
