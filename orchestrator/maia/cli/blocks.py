"""What `maia sandbox run` does: files in, one session, output and outcomes out."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from maia.cli.config import Config
from maia.cli.errors import DONE, FAILED, INTERRUPTED, CommandError
from maia.cli.isolation import UNISOLATED
from maia.sandbox import Outcome, Sandbox
from maia.sandbox.protocol.source import MAX_SOURCE_BYTES, checked_source

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Block:
    """One file's source."""

    file: str
    source: str


def read_blocks(files: Sequence[str]) -> list[Block]:
    """Read all files, so that nothing runs if one of them cannot be.

    Raises:
        CommandError: A file that cannot be read, is too long or is no text.
    """
    if files.count(STDIN) > 1:
        raise CommandError("standard input can be read once; give - once")
    return [Block(file, _read(file)) for file in files]


def _read(file: str) -> str:
    try:
        if file == STDIN:
            data = sys.stdin.buffer.read(MAX_SOURCE_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_SOURCE_BYTES + 1)
        if len(data) > MAX_SOURCE_BYTES:
            raise CommandError(f"{file} has more than {MAX_SOURCE_BYTES:,} bytes, the most that a block may have")
        return checked_source(data.decode("utf-8-sig"))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CommandError(f"{file} is no UTF-8 text: {error}") from error


async def run_blocks(config: Config, blocks: Sequence[Block], *, as_json: bool) -> int:
    """Run blocks in one session until one fails.

    Args:
        config: Settings.
        blocks: In this order.
        as_json: Print outcomes instead of output.

    Returns:
        The exit code.

    Raises:
        SandboxError: The session could not be opened, or broke.
    """
    box = _box(config, None if as_json else _printer(sys.stdout))
    async with box:
        if box.tier == "none":
            sys.stderr.write(f"warning: {UNISOLATED}\n")
        for block in blocks:
            with _interrupted_by_ctrl_c(box) as stops:
                outcome = await box.run(block.source)
            if as_json:
                sys.stdout.write(f"{json.dumps(_record(block, outcome))}\n")
                sys.stdout.flush()
            elif not stops:
                _explain(outcome)
            if stops:
                return INTERRUPTED
            if not outcome.ok:
                return FAILED
    return DONE


def _box(config: Config, on_output: Callable[[str], None] | None) -> Sandbox:
    try:
        return Sandbox(
            limits=config.limits,
            seed=config.seed,
            policy=config.policy,
            on_output=on_output,
            address=config.sandbox_address,
            credentials=config.credentials,
            tier=config.sandbox_tier,
            allow_unisolated=config.allow_unisolated,
            cache_dir=config.cache_dir,
        )
    except ValueError as error:
        raise CommandError(str(error), reason="SETTING_INVALID") from error


@contextmanager
def _interrupted_by_ctrl_c(box: Sandbox) -> Iterator[list[int]]:
    """Have Ctrl-C stop the block, and a second one the command. Yields a list that is empty until the first."""
    stops: list[int] = []
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if stops:
            task.cancel()
        stops.append(signal.SIGINT)
        box.interrupt()

    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield stops
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


def _printer(stream: TextIO) -> Callable[[str], None]:
    """What prints the code's text: as it is into a file or pipe, without what could command a terminal into one."""
    fit: Callable[[str], str] = str
    if stream.isatty():
        from maia.orchestrator.report.visible import visible  # half a second, for terminals only

        fit = visible

    def print_text(text: str) -> None:
        stream.write(fit(text).encode(stream.encoding, "backslashreplace").decode(stream.encoding))
        stream.flush()

    return print_text


def _explain(outcome: Outcome) -> None:
    """Say on standard error how a block ended, if not well."""
    if not outcome.ok:
        sys.stdout.flush()
        text = outcome.message.rstrip() or f"the block ended: {outcome.status.value}"
        _printer(sys.stderr)(f"{text}\n")


def _record(block: Block, outcome: Outcome) -> dict[str, object]:
    return {
        "file": block.file,
        "status": outcome.status.value,
        "message": outcome.message,
        "output": outcome.output,
        "state": outcome.state.value,
        "usage": asdict(outcome.usage),
    }
