"""Things that take long to make, made before they are needed; by kind."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from maia.sandbox.errors import SandboxError

__all__ = ["Pool"]

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

_KINDS: Final = 4
"""How many kinds are kept ready; taking of another lets the kind go that was taken of longest ago."""

_AT_ONCE: Final = 2
"""How many are made at the same time: more would only slow each other down."""


class Pool(Generic[_K, _V]):
    """Keeps some of each kind ready, from the first time that one is taken."""

    def __init__(self, make: Callable[[_K], Awaitable[_V]], discard: Callable[[_V], None], size: int) -> None:
        """Nothing is made before `fill` or `take`.

        Args:
            make: Makes one; may raise a SandboxError.
            discard: Lets go of one; does not wait or raise.
            size: How many of a kind are kept.
        """
        self._make = make
        self._discard = discard
        self._size = size
        self._ready: OrderedDict[_K, list[_V]] = OrderedDict()
        self._filling: dict[_K, asyncio.Task[None]] = {}
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._closed = False

    async def take(self, kind: _K) -> _V:
        """One of a kind, at once if there is one; another is then made in the background.

        Raises:
            SandboxError: It cannot be made, or the pool is closed.
        """
        if self._closed:
            raise SandboxError("the sandbox host is closed")
        ready = self._ready.setdefault(kind, [])
        self._ready.move_to_end(kind)
        taken = ready.pop(0) if ready else await self._make_one(kind)
        self._fill(kind)
        return taken

    async def fill(self, kind: _K) -> None:
        """Make the first of a kind, and the others in the background.

        Raises:
            SandboxError: It cannot be made.
        """
        made = await self._make_one(kind)
        self._ready.setdefault(kind, [])
        self._keep(kind, made)
        self._fill(kind)

    def forget(self, value: _V) -> bool:
        """This one is not good any more; returns whether it was here."""
        for ready in self._ready.values():
            if value in ready:
                ready.remove(value)
                return True
        return False

    async def close(self) -> None:
        """Let all go and make no more. Closing again does nothing."""
        self._closed = True
        for task in self._filling.values():
            task.cancel()
        await asyncio.gather(*self._filling.values(), return_exceptions=True)
        self._let_go(keep=0)

    async def _make_one(self, kind: _K) -> _V:
        async with self._turn:
            made = await self._make(kind)
        if self._closed:
            self._discard(made)
            raise SandboxError("the sandbox host is closed")
        return made

    def _fill(self, kind: _K) -> None:
        self._let_go(keep=_KINDS)
        if kind not in self._filling and not self._closed and len(self._ready.get(kind, ())) < self._size:
            self._filling[kind] = asyncio.create_task(self._fill_up(kind))

    async def _fill_up(self, kind: _K) -> None:
        try:
            while kind in self._ready and len(self._ready[kind]) < self._size:
                self._keep(kind, await self._make_one(kind))
        except SandboxError:
            pass  # whoever takes next makes one, and hears why it cannot be made
        finally:
            del self._filling[kind]

    def _keep(self, kind: _K, value: _V) -> None:
        """Keep one, or let it go if nobody has asked for its kind for long, or there are enough."""
        ready = self._ready.get(kind)
        if ready is None or len(ready) >= self._size:
            self._discard(value)
        else:
            ready.append(value)

    def _let_go(self, keep: int) -> None:
        while len(self._ready) > keep:
            _, values = self._ready.popitem(last=False)
            for value in values:
                self._discard(value)
