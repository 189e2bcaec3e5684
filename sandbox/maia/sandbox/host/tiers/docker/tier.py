"""The tiers docker and gvisor: sessions in containers, most of them started before they are asked for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from maia.sandbox.errors import HostGoneError, SandboxError, TierUnavailableError
from maia.sandbox.host.tiers.docker.engine import Engine, Image
from maia.sandbox.host.tiers.docker.features import features
from maia.sandbox.host.tiers.docker.options import RUNSC, Size
from maia.sandbox.host.tiers.docker.pool import Pool
from maia.sandbox.host.tiers.docker.relay import Relay
from maia.sandbox.host.tiers.docker.remedies import refused
from maia.sandbox.host.tiers.tier import Ends, Feature
from maia.sandbox.limits import Limits

__all__ = ["DockerTier"]

_READY_S: Final = 60.0
_CLOSE_S: Final = 20.0
_THREADS: Final = 6
_NO_ROOM: Final = "no room for another session: too many open files; `ulimit -n` raises the limit"

_T = TypeVar("_T")


class _Container:
    """A container and the relay to it."""

    def __init__(self, number: str, line: socket.socket, on_end: Callable[[_Container], None]) -> None:
        self.number = number
        self.relay = Relay(line, lambda: on_end(self))


class DockerTier:
    """One engine, one image, and the containers made from it."""

    def __init__(self, runtime: str | None = None, *, image: str | None = None, pool_size: int = 2) -> None:
        """Nothing runs before `start`.

        Args:
            runtime: The engine's name for what runs containers; None for its own default, "runsc" for gVisor.
            image: One that the engine has, with maia installed for its `python3`; None makes one of what is installed
                here.
            pool_size: Containers kept ready for each of the last few sizes of sessions; an idle one takes 55 MB,
                with gVisor 130 MB.
        """
        self.name = "gvisor" if runtime is not None and RUNSC in runtime else "docker"
        self._runtime = runtime
        self._image_name = image
        self._image: Image | None = None
        self._engine: Engine | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._pool: Pool[Size, _Container] = Pool(self._launch, self._discard, pool_size)
        self._containers: set[_Container] = set()
        self._starting: set[asyncio.Future[tuple[str, socket.socket]]] = set()
        self._removals: set[Future[None]] = set()

    @property
    def features(self) -> tuple[Feature, ...]:
        """What it enforces, by what the engine says of itself."""
        assert self._engine is not None
        return features(self.name, self._runtime, self._engine.about)

    async def start(self, cache_dir: Path | None) -> None:
        """Connect, make the image if the engine does not have it, and start a first container to see that it works.

        The first time on a machine takes some ten seconds, for the image.

        Raises:
            TierUnavailableError: There is no engine, or it cannot do what is needed.
        """
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="maia-docker")
        try:
            self._engine = await self._in_thread(lambda: Engine(self.name, self._runtime))
            self._image = await self._in_thread(lambda: self._find_image(cache_dir))
            await self._in_thread(self._engine.remove_orphans)
            await self._pool.fill(Size.of(Limits()))
        except BaseException as error:
            await self.close()
            if isinstance(error, SandboxError) and not isinstance(error, TierUnavailableError):
                raise refused(self.name, "starting a container", error) from error
            raise

    def _find_image(self, cache_dir: Path | None) -> Image:
        assert self._engine is not None
        if self._image_name is not None:
            return self._engine.named_image(self._image_name)
        return self._engine.own_image(cache_dir)

    async def open(self, limits: Limits) -> Ends:
        """Take a container from the pool, or start one.

        Raises:
            TierUnavailableError: The engine refuses to start one.
            HostGoneError: The engine answers no more.
            SandboxError: It did not get ready.
        """
        try:
            container = await self._pool.take(Size.of(limits))
        except SandboxError as error:
            if await self._engine_has_gone():
                raise HostGoneError(
                    f"the Docker engine answers no more; see `systemctl status docker`: {error}"
                ) from error
            raise
        relay = container.relay
        destroy = partial(self._destroy, container)
        return Ends(relay.control, relay.channel, relay.output, destroy, self._engine_has_gone)

    async def _engine_has_gone(self) -> bool:
        engine = self._engine
        return engine is not None and self._threads is not None and not await self._in_thread(engine.answers)

    async def close(self) -> None:
        """End every session and container. Closing again does nothing."""
        await self._pool.close()
        for container in list(self._containers):
            self._destroy(container)
        if self._starting:
            await asyncio.wait(self._starting, timeout=_CLOSE_S)
        removals = [asyncio.wrap_future(removal) for removal in self._removals]
        if removals:
            await asyncio.wait(removals, timeout=_CLOSE_S)
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None
        if self._engine is not None:
            self._engine.close()

    async def _launch(self, size: Size) -> _Container:
        """Start a container and wait until its relay is warm."""
        engine, image = self._engine, self._image
        assert engine is not None
        assert image is not None
        start = asyncio.ensure_future(self._in_thread(lambda: engine.run(image, size)))
        self._starting.add(start)
        start.add_done_callback(self._starting.discard)
        try:
            number, line = await asyncio.shield(start)
        except asyncio.CancelledError:
            start.add_done_callback(self._undo)  # the thread goes on
            raise
        try:
            container = _Container(number, line, self._on_end)
        except OSError as error:
            line.close()
            self._remove(number)
            raise SandboxError(f"{_NO_ROOM} ({error.strerror})") from error
        self._containers.add(container)
        relay = container.relay
        try:
            async with asyncio.timeout(_READY_S):
                await relay.ready
        except BaseException as error:
            relay.close_session_ends()
            self._destroy(container)
            if isinstance(error, TimeoutError):
                reason = f"the container was not ready after {_READY_S:.0f} s"
                raise SandboxError(f"{reason}: {relay.errors or 'without a word'}") from None
            raise
        return container

    def _undo(self, start: asyncio.Future[tuple[str, socket.socket]]) -> None:
        """Nobody waits any more for a container that has started nevertheless."""
        if not start.cancelled() and start.exception() is None:
            number, line = start.result()
            line.close()
            self._remove(number)

    def _discard(self, container: _Container) -> None:
        """Let go of a container that no session has."""
        container.relay.close_session_ends()
        self._destroy(container)

    def _on_end(self, container: _Container) -> None:
        """A container ended by itself; its session, if it has one, finds its ends closed."""
        if self._pool.forget(container):
            container.relay.close_session_ends()
        self._destroy(container)

    def _destroy(self, container: _Container) -> None:
        """Let go of a container at once, and have the engine kill it in the background."""
        if container in self._containers:
            self._containers.remove(container)
            container.relay.close()
            self._remove(container.number)

    def _remove(self, number: str) -> None:
        engine = self._engine
        if engine is None or self._threads is None:  # closed, and the relay has ended with its line
            return
        removal = self._threads.submit(engine.remove, number)
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if self._threads is None:
            raise SandboxError("the sandbox host is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
