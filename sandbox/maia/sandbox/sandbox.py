"""The front door: one session with a host of its own, or at a host on another machine."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from maia.sandbox.errors import SessionError
from maia.sandbox.host.host import Host, open_request
from maia.sandbox.host.tiers.choice import TierName, check_tier
from maia.sandbox.host.tiers.jail.plan import user_cache_dir
from maia.sandbox.host.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from maia.sandbox.host.host import Policy
    from maia.sandbox.host.session import Session
    from maia.sandbox.host.tiers.tier import Feature
    from maia.sandbox.host.tools import ImageSource
    from maia.sandbox.limits import Limits, Outcome
    from maia.sandbox.remote.client import ClientCredentials, RemoteHost
    from maia.sandbox.remote.session import RemoteSession

__all__ = ["Sandbox"]


class Sandbox:
    """Runs blocks of untrusted Python that reach nothing but the given tools.

    ::

        async with Sandbox(tools=[search_catalogue], limits=Limits(wall_s=10, memory_mb=512)) as box:
            outcome = await box.run(code)

    `SyncSandbox` is the same for code without an event loop.
    """

    def __init__(
        self,
        *,
        tools: Sequence[Callable[..., object] | Tool] = (),
        constants: Mapping[str, object] | None = None,
        limits: Limits | None = None,
        seed: int = 0,
        policy: Policy = "restricted",
        images: ImageSource | None = None,
        on_output: Callable[[str], None] | None = None,
        address: str | None = None,
        credentials: ClientCredentials | None = None,
        tier: TierName = "auto",
        allow_unisolated: bool = False,
        cache_dir: Path | None = None,
    ) -> None:
        """Nothing runs before the context is entered.

        Args:
            tools: Typed Python functions, sync or async, or `Tool`s where a dotted name is wanted. They run in this
                process, also with an address.
            constants: See `Host.open`, as for the arguments up to `on_output`.
            limits: The defaults of `Limits` if None.
            seed: For the guest's random generators.
            policy: "restricted" or "off".
            images: Resolves image references.
            on_output: Called with each piece of output as it comes.
            address: Of a sandbox host (`maia serve sandbox`), `host:port` or `unix:/path`; None runs a host here.
            credentials: Certificates and token for a host elsewhere (`ClientCredentials`).
            tier: How a host here isolates; a host elsewhere has been told by whoever started it.
            allow_unisolated: Needed for the tier "none", which isolates nothing.
            cache_dir: The user's cache directory if None.

        Raises:
            ValueError, TypeError: A function that cannot be a tool, clashing names, an unknown policy or tier, a wrong
                address.
            ProtocolError: A constant that cannot travel.
        """
        self._tools = [tool if isinstance(tool, Tool) else Tool.of(tool) for tool in tools]
        self._constants = constants or {}
        self._limits = limits
        self._seed = seed
        self._policy: Policy = policy
        self._images = images
        self._on_output = on_output
        open_request(self._tools, self._constants, seed, policy)  # refuses now what `open` would refuse later
        self._host = _host(address, credentials, tier, allow_unisolated=allow_unisolated, cache_dir=cache_dir)
        self._host()
        self._stack = AsyncExitStack()
        self._session: Session | RemoteSession | None = None
        self.tier = ""
        self.features: tuple[Feature, ...] = ()

    async def __aenter__(self) -> Self:
        """Start a host, or connect to one, and open the session; `tier` and `features` say how it is isolated.

        Raises:
            TierUnavailableError: The machine cannot isolate it.
            SandboxError: The host elsewhere does not answer, or is full (`SessionsFullError`).
        """
        async with AsyncExitStack() as stack:
            host: Host | RemoteHost = await stack.enter_async_context(self._host())
            self._session = await host.open(
                tools=self._tools,
                constants=self._constants,
                limits=self._limits,
                seed=self._seed,
                policy=self._policy,
                images=self._images,
                on_output=self._on_output,
            )
            self.tier, self.features = host.tier, host.features
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        await self._stack.aclose()

    @property
    def alive(self) -> bool:
        """Whether another block can be run: entered, and the session not lost or broken."""
        return self._session is not None and self._session.alive

    async def run(self, code: str) -> Outcome:
        """Run one block; see `Session.run`.

        Raises:
            SessionError: The session is over, or the sandbox was not entered.
        """
        if self._session is None:
            raise SessionError("the sandbox is not open; use `async with Sandbox(...) as box`")
        return await self._session.run(code)

    def interrupt(self) -> None:
        """Stop the running block; see `Session.interrupt`."""
        if self._session is not None:
            self._session.interrupt()


def _host(
    address: str | None,
    credentials: ClientCredentials | None,
    tier: TierName,
    *,
    allow_unisolated: bool,
    cache_dir: Path | None,
) -> Callable[[], Host | RemoteHost]:
    """What makes the host.

    Raises:
        ValueError: An unknown tier, or an address and a tier.
    """
    check_tier(tier)
    if address is None:
        cache_dir = cache_dir or user_cache_dir(os.environ)
        return partial(Host, tier=tier, cache_dir=cache_dir, allow_unisolated=allow_unisolated)
    if tier != "auto":
        raise ValueError(f"the host at {address} isolates as it was started to; leave out tier={tier!r}")
    from maia.sandbox.remote.client import RemoteHost  # gRPC only where it is used

    return partial(RemoteHost, address, credentials)
