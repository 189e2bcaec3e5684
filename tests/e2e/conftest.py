"""The command line as a person runs it: real processes, real servers, a cache that the tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from maia.cli.config import KEYS

PATIENCE_S = 180.0


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Maia:
    """Runs `maia` in a folder of its own, without keys and settings of the person who runs the tests."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MAIA_")}
        for name in KEYS.values():
            kept.pop(name, None)
        # A sixtieth of the scenes: exemplars are worse, and found in a second.
        self.environment = {**kept, "MAIA_CACHE_DIR": str(cache), "MAIA_DATASET_SIZE": "80"}

    @contextmanager
    def start(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command as the leader of a process group, as a shell does; end it if the test fails meanwhile."""
        # What a shell starts in the background ignores Ctrl-C, and so would all that it starts.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with subprocess.Popen(
            [sys.executable, "-m", "maia.cli", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as process:
            try:
                yield process
            except BaseException:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise

    def __call__(self, *arguments: str, **environment: str) -> Ended:
        with self.start(*arguments, **environment) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return Ended(process.returncode, out, err)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all tests, so that exemplars are found once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def maia(tmp_path: Path, cache: Path) -> Maia:
    """The command line."""
    return Maia(tmp_path, cache)


@pytest.fixture
def no_processes_left(cache: Path) -> Iterator[Callable[[], Sequence[str]]]:
    """Returns the servers and jails that still run with this test's cache; the test fails if any does at its end."""

    def left() -> list[str]:
        deadline = time.monotonic() + 10
        while (found := _with_cache(cache)) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    yield left
    assert left() == []


def _with_cache(cache: Path) -> list[str]:
    """Command lines of the processes whose environment or arguments name the cache, but our own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            about = (entry / "environ").read_bytes().decode(errors="replace") + command
        except OSError:
            continue
        if int(entry.name) != os.getpid() and command and str(cache) in about:
            found.append(command)
    return found
