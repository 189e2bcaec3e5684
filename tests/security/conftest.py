"""How an attack is run: in a session of each tier, with the language policy and without, beside an honest session.

A test says what must be true on the host afterwards. What is always checked here: the honest session is unharmed, and
no process of the attacked session is left. `MAIA_TEST_TIERS=jail,landlock` chooses tiers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, cast

import pytest
import pytest_asyncio
from tests.security.attack import LIMITS, NATIVE, Result, Tier
from tests.security.processes import living, of_session

from maia.sandbox import Host, ImageSource, Limits, Session, SessionError, Status, TierUnavailableError, Tool

TIERS: Final = {
    tier.name: tier
    for tier in (
        Tier("jail"),
        Tier("landlock", own_names=False, bounded_tmp=False),
        Tier("docker", own_proc=True, container=True),
        Tier("gvisor", own_proc=True, container=True, own_kernel=True),
    )
}
CHOSEN: Final = os.environ.get("MAIA_TEST_TIERS", ",".join(TIERS)).split(",")

NAMES: Final = (
    *("np", "Image", "math", "random", "statistics", "ToolError", "help"),
    *("__builtins__", "__name__", "name", "gc", "os", "shutil", "threading"),
)
"""What a session has before its first block, and what the block has that clears the others away."""

_SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER
_GONE_S: Final = 3.0
"""How long what a session leaves may take to go."""

Attack = Callable[..., AbstractAsyncContextManager[Result]]


@pytest.fixture(scope="session", params=CHOSEN)
def tier(request: pytest.FixtureRequest) -> Tier:
    return TIERS[request.param]


@pytest.fixture(params=["restricted", "off"])
def policy(request: pytest.FixtureRequest, tier: Tier) -> str:
    value = request.param
    assert isinstance(value, str)
    if tier.container and value == "restricted" and request.node.get_closest_marker("once_in_containers"):
        pytest.skip("takes long in a container: once, without the policy")
    return value


@pytest.fixture(scope="session")
def secret() -> Iterator[str]:
    """A word of the host's environment that no guest is told."""
    word = f"sesame-{secrets.token_hex(8)}"
    os.environ["MAIA_TEST_SECRET"] = word
    yield word
    del os.environ["MAIA_TEST_SECRET"]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def host(tier: Tier, secret: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Host]:
    # Whatever a session leaves becomes this process's child, so that it is found.
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    running = Host(tier=tier.name, cache_dir=tmp_path_factory.mktemp("cache"))
    try:
        await running.__aenter__()
    except TierUnavailableError as error:
        pytest.skip(" ".join(str(error).split()))
    yield running
    await running.__aexit__(None, None, None)
    ctypes.CDLL(None).prctl(_SUBREAPER, 0, 0, 0, 0)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def honest(host: Host) -> AsyncIterator[Session]:
    """Opened before the first attack and asked after each."""
    async with await host.open(policy="off", limits=LIMITS) as session:
        begun = await session.run("secret = 'of another session'\nopen('mine', 'w').write('untouched')")
        assert begun.ok
        yield session


Shared = dict[tuple[object, ...], Session]


class Same:
    """Equal for the same object only, which it keeps."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


SOUND: Final = """
import gc, os, shutil, threading
for name in globals().keys() - {names!r}:
    del globals()[name]
for name in os.listdir('.'):
    shutil.rmtree(name) if os.path.isdir(name) else os.unlink(name)
gc.collect()
print('sound', threading.active_count())
"""
"""Makes a session as good as new, for the next attack in it."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared(tier: Tier) -> AsyncIterator[Shared]:
    """Sessions that several attacks have, one after another, by policy, limits and tools.

    Those in which the policy refused all code so far; and sound containers, which take long to make.
    """
    sessions: Shared = {}
    yield sessions
    for session in sessions.values():
        await session.close()


@pytest.fixture
def attack(host: Host, honest: Session, tier: Tier, shared: Shared, policy: str) -> Attack:
    async def give_back(session: Session, key: tuple[object, ...], names: set[str], *, early: bool) -> bool:
        """Whether the next attack may have the session."""
        sound = early and session.alive
        if not sound and tier.container and session.alive:
            check = SOUND.format(names={*NAMES, *names})
            with contextlib.suppress(SessionError):
                outcome = await session.run(check if policy == "off" else "print('sound', 1)")
                sound = outcome.output == "sound 1\n"
        if sound:
            shared[key] = session
        return sound

    @asynccontextmanager
    async def run(
        code: str,
        *,
        native: bool = False,
        limits: Limits = LIMITS,
        tools: Sequence[Tool] = (),
        images: ImageSource | None = None,
        fresh: bool = False,
    ) -> AsyncIterator[Result]:
        whole = NATIVE + code if native else code
        tools = tuple(tools)
        if (tools or images) and policy == "restricted" and await _is_refused(host, shared, whole):
            tools, images = (), None  # what the policy refuses, it refuses without them too
        key = (policy, limits, *map(Same, tools), Same(images))
        session = None if fresh and policy == "off" else shared.pop(key, None)
        if session is None:
            session = await host.open(policy=cast("Any", policy), limits=limits, tools=tools, images=images)
        processes = of_session(session.pid)
        back = False
        try:
            try:
                result = Result(session, await session.run(whole), None)
            except SessionError as error:
                result = Result(session, None, error)
                assert not session.alive
            yield result
            processes |= of_session(session.pid)
            back = (result.early or not fresh) and await give_back(
                session, key, {tool.spec.name for tool in tools}, early=result.early
            )
        finally:
            if not back:
                await session.close()
                await _gone(processes)
        if not result.early:  # else nothing has happened
            after = await honest.run("print(secret, open('mine').read())")
            assert after.output == "of another session untouched\n"

    return run


async def _is_refused(host: Host, shared: Shared, code: str) -> bool:
    """Whether the policy refuses code before it runs. A session without its tools is asked: there it fails for want of
    them, if it runs."""
    probe = shared.pop(("probe",), None) or await host.open(policy="restricted", limits=LIMITS)
    try:
        return (await probe.run(code)).status is Status.POLICY
    except SessionError:
        return False
    finally:
        if probe.alive:
            shared["probe",] = probe


async def _gone(processes: set[int]) -> None:
    """Wait until none is left."""
    deadline = time.monotonic() + _GONE_S
    while (left := living(processes)) and time.monotonic() < deadline:  # noqa: ASYNC110  the kernel tells nobody
        await asyncio.sleep(0.002)
    assert not left, "processes of a closed session are left"


@pytest.fixture
def open_house(secret: str) -> Iterator[Path]:
    """A folder of the host that is everyone's, so that only isolation keeps a guest out; in it a file."""
    folder = Path(tempfile.mkdtemp(prefix="open-house-"))
    folder.chmod(0o777)
    file = folder / "secret.txt"
    file.write_text(secret)
    file.chmod(0o666)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def empty_tmp(tier: Tier) -> list[str]:
    """What a session finds in /tmp when nobody has written there: the way to an installation below it, if any."""
    installed = [sys.prefix, sys.base_prefix, *import_module("maia").__path__]
    parts = [Path(path).resolve().parts for path in installed]
    return sorted({part[2] for part in parts if part[1] == "tmp"})
