"""The front door: one session with a host of its own."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from maia.sandbox.errors import SessionError
from maia.sandbox.host.host import Host
from maia.sandbox.host.tiers.jail.plan import user_cache_dir
from maia.sandbox.host.tools import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from maia.sandbox.host.host import Policy
    from maia.sandbox.host.session import Session
    from maia.sandbox.host.tools import ImageSource
    from maia.sandbox.limits import Limits, Outcome

__all__ = ["Sandbox"]


class Sandbox:
    """Runs blocks of untrusted Python that reach nothing but the given tools.

    ::

        async with Sandbox(tools=[search_catalogue], limits=Limits(wall_s=10, memory_mb=512)) as box:
            outcome = await box.run(code)
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
        cache_dir: Path | None = None,
    ) -> None:
        """Nothing runs before the context is entered.

        Args:
            tools: Typed Python functions, sync or async, or `Tool`s where a dotted name is wanted.
            constants: See `Host.open`, as for the arguments up to `on_output`.
            limits: The defaults of `Limits` if None.
            seed: For the guest's random generators.
            policy: "restricted" or "off".
            images: Resolves image references.
            on_output: Called with each piece of output.
            cache_dir: The user's cache directory if None.

        Raises:
            ValueError, TypeError: A function that cannot be a tool.
        """
        self._tools = [tool if isinstance(tool, Tool) else Tool.of(tool) for tool in tools]
        self._constants = constants
        self._limits = limits
        self._seed = seed
        self._policy: Policy = policy
        self._images = images
        self._on_output = on_output
        self._cache_dir = cache_dir
        self._stack = AsyncExitStack()
        self._session: Session | None = None

    async def __aenter__(self) -> Self:
        """Start a host and open the session.

        Raises:
            TierUnavailableError: This machine cannot isolate it.
        """
        async with AsyncExitStack() as stack:
            host = await stack.enter_async_context(Host(cache_dir=self._cache_dir or user_cache_dir(os.environ)))
            self._session = await host.open(
                tools=self._tools,
                constants=self._constants,
                limits=self._limits,
                seed=self._seed,
                policy=self._policy,
                images=self._images,
                on_output=self._on_output,
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        await self._stack.aclose()

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
