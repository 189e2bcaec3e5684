"""How an attack is run: in a fresh session of one jail, with the language policy and without, beside an honest session.

A test says what must be true on the host afterwards; that the honest session and the jail are unharmed is checked here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from maia.sandbox import Host, ImageSource, Limits, Outcome, Session, SessionError, Tool

LIMITS = Limits(wall_s=3, cpu_s=2, memory_mb=256, output_bytes=20_000, tmp_mb=8, threads=8, open_files=32)

# Direct system calls, so that neither the policy nor the C library has a say.
NATIVE = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
def syscall(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return result if result != -1 else errno.errorcode[ctypes.get_errno()]
"""


@pytest.fixture(scope="session")
def empty_tmp() -> list[str]:
    """What a session finds in /tmp when nobody has written there: the way to an installation below it, if any."""
    installed = [sys.prefix, sys.base_prefix, *import_module("maia").__path__]
    parts = [Path(path).resolve().parts for path in installed]
    return sorted({part[2] for part in parts if part[1] == "tmp"})


@dataclass(frozen=True, slots=True)
class Result:
    """What an attack left: how its block ended, or why its session broke."""

    outcome: Outcome | None
    error: SessionError | None
    pid: int

    @property
    def output(self) -> str:
        return self.outcome.output if self.outcome else ""

    @property
    def status(self) -> str:
        return self.outcome.status.value if self.outcome else "broken"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    os.environ["MAIA_TEST_SECRET"] = "sesame"
    async with Host(cache_dir=tmp_path_factory.mktemp("cache")) as running:
        yield running
    del os.environ["MAIA_TEST_SECRET"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def honest(host: Host) -> AsyncIterator[Session]:
    """Opened before the first attack and asked after each."""
    async with await host.open(policy="off") as session:
        await session.run("secret = 'of another session'\nopen('/tmp/mine', 'w').write('untouched')")
        yield session


@pytest.fixture(params=["restricted", "off"])
def policy(request: pytest.FixtureRequest) -> str:
    value = request.param
    assert isinstance(value, str)
    return value


@pytest.fixture
def attack(host: Host, honest: Session, policy: Any) -> Callable[..., AbstractAsyncContextManager[Result]]:
    @asynccontextmanager
    async def run(
        code: str,
        *,
        native: bool = False,
        limits: Limits = LIMITS,
        tools: Sequence[Tool] = (),
        images: ImageSource | None = None,
    ) -> AsyncIterator[Result]:
        async with await host.open(policy=policy, limits=limits, tools=tools, images=images) as session:
            try:
                result = Result(await session.run(NATIVE + code if native else code), None, session.pid)
            except SessionError as error:
                result = Result(None, error, session.pid)
                assert not session.alive
            yield result
        after = await honest.run("print(secret, open('/tmp/mine').read())")
        assert after.output == "of another session untouched\n"

    return run
