"""The sandbox, tier by tier, as runtimes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from tests.bench.runtimes import RUNAWAY, UnavailableError

from maia.sandbox import Host, Limits, SandboxError, Session, State, Tool, user_cache_dir
from maia.sandbox.host.host import Policy
from maia.sandbox.host.tiers.choice import TierName
from maia.sandbox.host.tiers.docker.tier import DockerTier
from maia.sandbox.remote.client import RemoteHost
from maia.sandbox.remote.session import RemoteSession

__all__ = ["LIMITS", "Box", "RemoteTier", "Tier", "drop_idle_connections", "settle"]

LIMITS = Limits(memory_mb=2048)
"""Room for 500 MB of variables."""

WARM_S = 1.0
"""A container in the pool goes on importing for so long after it could be used."""

ISOLATES: Final = {
    "jail": "namespaces, a read-only root of its own, default-deny seccomp, Landlock, no privileges, limits",
    "landlock": "Landlock, default-deny seccomp, no privileges, limits; no namespaces",
    "docker": "a container: no network, read-only, no capabilities, nobody, own seccomp profile, limits; one kernel",
    "gvisor": "the same, under a kernel of its own in user space",
    "none": "nothing",
}


class Tier:
    """Sessions of one tier on this machine."""

    def __init__(self, tier: TierName, *, tools: Sequence[Tool] = (), pool_size: int = 2) -> None:
        """Nothing runs before the context is entered.

        Args:
            tier: Which.
            tools: Of each session.
            pool_size: Containers that are kept ready; 0 makes each when it is asked for.
        """
        self.name: str = tier
        self.isolates = ISOLATES[tier]
        self.tier: TierName = tier
        self._tools = tools
        self._pool_size = pool_size
        self._stack = AsyncExitStack()
        self._host: Host | RemoteHost | None = None

    async def __aenter__(self) -> Self:
        try:
            self._host = await self._enter(self._stack)
        except SandboxError as error:
            await self._stack.aclose()
            raise UnavailableError(str(error)) from error
        return self

    async def _enter(self, stack: AsyncExitStack) -> Host | RemoteHost:
        host = Host(tier=self.tier, cache_dir=user_cache_dir(os.environ), pool_size=self._pool_size)
        return await stack.enter_async_context(host)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def open(self, limit_s: float = 60, *, policy: Policy = "restricted") -> Box:
        limits = replace(LIMITS, wall_s=limit_s)
        return Box(self, await self.session(limits, policy), limits, policy)

    async def session(self, limits: Limits, policy: Policy) -> Session | RemoteSession:
        """What `open` wraps."""
        assert self._host is not None
        return await self._host.open(tools=self._tools, limits=limits, policy=policy)

    async def settle(self) -> None:
        """See the function; a remote host is not asked."""
        if isinstance(self._host, Host):
            await settle(self._host)


class RemoteTier(Tier):
    """The same at a sandbox host of its own process, over gRPC and the loopback interface; tools stay in this one."""

    def __init__(self, tier: TierName, *, tools: Sequence[Tool] = ()) -> None:
        super().__init__(tier, tools=tools)
        self.name = f"{tier}, remote"

    async def _enter(self, stack: AsyncExitStack) -> RemoteHost:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "maia.sandbox.remote", "--announce", "--end-with-stdin", "--log-level=warning",
            "--listen=127.0.0.1:0", f"--tier={self.tier}", stdin=PIPE, stdout=PIPE,
        )  # fmt: skip
        stack.push_async_callback(server.wait)
        assert server.stdin is not None
        assert server.stdout is not None
        stack.callback(server.stdin.close)
        announced = await server.stdout.readline()
        if not announced:
            raise UnavailableError("its server did not start")
        return await stack.enter_async_context(RemoteHost(json.loads(announced)["address"]))


class Box:
    """One session, and another when it is lost."""

    def __init__(self, tier: Tier, session: Session | RemoteSession, limits: Limits, policy: Policy) -> None:
        self.session = session
        self._tier = tier
        self._limits = limits
        self._policy = policy

    async def run(self, code: str) -> str:
        outcome = await self.session.run(code)
        if not outcome.ok:
            raise RuntimeError(outcome.message)
        return outcome.output

    async def overrun(self, limit_s: float) -> None:
        outcome = await self.session.run(RUNAWAY)
        assert not outcome.ok
        if outcome.state is State.LOST:
            await self.session.close()
            self.session = await self._tier.session(self._limits, self._policy)

    async def close(self) -> None:
        """Close the session, and wait until what is made in the background for the next one is there."""
        await self.session.close()
        await self._tier.settle()


async def settle(host: Host) -> None:
    """Wait until a host's pool of containers is full and those that ended are removed."""
    tier = host._tier
    if isinstance(tier, DockerTier):
        while working := [*tier._pool._filling.values(), *map(asyncio.wrap_future, tier._removals)]:
            await asyncio.wait(working)
            await asyncio.sleep(WARM_S)


def drop_idle_connections(host: Host) -> None:
    """Close those to the container engine, of which there is at most one for each thread that speaks to it."""
    tier = host._tier
    if isinstance(tier, DockerTier):
        assert tier._engine is not None
        tier._engine._api.close()
