"""Programs of the exemplar store as child processes: what loads a network, or gigabytes of pictures, ends with them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from maia.cli.config import environment_without_keys
from maia.cli.errors import BuildFailedError
from maia.cli.progress import Progress
from maia.cli.words import clock

__all__ = ["run_program"]

_LINE_BYTES: Final = 1 << 24
_TAIL_BYTES: Final = 16 * 1024
_STOP_S: Final = 60.0
"""How long a pass may take to save where it is."""


@dataclass(slots=True)
class Rate:
    """How fast something goes, from when it began."""

    doing: str = ""
    first: int = 0
    since: float = field(default_factory=time.monotonic)

    def told(self, doing: str, done: int, total: int) -> str:
        """Return the rate and the time left, "" as long as nobody knows."""
        if doing != self.doing or done < self.first:
            self.doing, self.first, self.since = doing, done, time.monotonic()
        took = time.monotonic() - self.since
        if took < 1 or done <= self.first or not total:
            return ""
        rate = (done - self.first) / took
        return f"  {rate:.3g}/s, {clock((total - done) / rate)} left"


async def run_program(module: str, arguments: Sequence[str], progress: Progress, what: str) -> Mapping[str, Any]:
    """Run `python -m <module>` and show how far it is.

    Args:
        module: Says on standard output what it does, a line of JSON each, and last what came of it.
        arguments: Its flags.
        progress: Is told.
        what: Is being made, for the view.

    Returns:
        What came of it.

    Raises:
        BuildFailedError: It ended with an error; the message is its own.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments, "--json", "--end-with-stdin"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        limit=_LINE_BYTES,
        start_new_session=True,
        env=environment_without_keys(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    result: Mapping[str, Any] = {}
    rate = Rate()
    try:
        async for line in process.stdout:
            fact = json.loads(line)
            if "doing" in fact:
                doing, done, total = fact["doing"], fact["done"], fact["total"]
                progress.step(f"{what}: {doing} pictures", done, total, rate.told(doing, done, total))
            else:
                result = fact
        code = await process.wait()
    finally:
        await _ended(process)
        errors = (await said)[-_TAIL_BYTES:].decode("utf-8", "replace").strip()
    if code or not result:
        message = errors.rpartition("error: ")[2] or f"{module} ended with code {code}"
        raise BuildFailedError(message, mendable=code == 2)
    return result


async def _ended(process: Process) -> None:
    """Let a pass save where it is, if it is still at it."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _STOP_S)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
