"""The front door for code without an event loop: a script, a notebook, a thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self

from maia.sandbox.errors import SessionError
from maia.sandbox.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from maia.sandbox.host.host import Policy
    from maia.sandbox.host.tiers.choice import TierName
    from maia.sandbox.host.tiers.tier import Feature
    from maia.sandbox.host.tools import ImageSource, Tool
    from maia.sandbox.limits import Limits, Outcome
    from maia.sandbox.remote.client import ClientCredentials

__all__ = ["SyncSandbox"]


class SyncSandbox:
    """`Sandbox` without `await`: it runs an event loop of its own in a thread, so it works beside a running one too.

    ::

        with SyncSandbox(tools=[search_catalogue]) as box:
            outcome = box.run(code)
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
        """See `Sandbox`. Tools and `on_output` are called in threads of the sandbox, not in the caller's.

        Raises:
            ValueError, TypeError, ProtocolError: As `Sandbox`.
        """
        self._box = Sandbox(
            tools=tools,
            constants=constants,
            limits=limits,
            seed=seed,
            policy=policy,
            images=images,
            on_output=on_output,
            address=address,
            credentials=credentials,
            tier=tier,
            allow_unisolated=allow_unisolated,
            cache_dir=cache_dir,
        )
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave = asyncio.Event()

    def __enter__(self) -> Self:
        """Start a host, or connect to one, and open the session.

        Raises:
            SandboxError: As `Sandbox`.
        """
        entered: Future[asyncio.AbstractEventLoop] = Future()
        self._leave = asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._live(entered)), name="maia-sandbox", daemon=True
        )
        self._thread.start()
        try:
            self._loop = entered.result()
        except BaseException:
            entered.add_done_callback(self._leave_soon)  # interrupted while it opened: it closes once it has
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(self._leave.set)
            self._thread.join()

    @property
    def tier(self) -> str:
        """How the session is isolated: "jail"."""
        return self._box.tier

    @property
    def features(self) -> tuple[Feature, ...]:
        """What that enforces, and what it does not."""
        return self._box.features

    @property
    def alive(self) -> bool:
        """Whether another block can be run."""
        return self._box.alive

    def run(self, code: str) -> Outcome:
        """Run one block; see `Session.run`.

        Ctrl-C stops the block as `interrupt` does, and is raised once the block has ended; its variables are still
        there if it let itself be stopped. A second Ctrl-C does not wait.

        Raises:
            SessionError: The session is over, or the sandbox was not entered.
            KeyboardInterrupt: See above.
        """
        if self._loop is None:
            raise SessionError("the sandbox is not open; use `with SyncSandbox(...) as box`")
        running = asyncio.run_coroutine_threadsafe(self._box.run(code), self._loop)
        try:
            return running.result()
        except KeyboardInterrupt:
            self.interrupt()
            running.exception()
            raise

    def interrupt(self) -> None:
        """Stop the running block, from any thread; see `Session.interrupt`."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._box.interrupt)

    async def _live(self, entered: Future[asyncio.AbstractEventLoop]) -> None:
        """The thread's whole life."""
        try:
            async with self._box:
                entered.set_result(asyncio.get_running_loop())
                await self._leave.wait()
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    def _leave_soon(self, entered: Future[asyncio.AbstractEventLoop]) -> None:
        if entered.exception() is None:
            entered.result().call_soon_threadsafe(self._leave.set)
