"""Holding one block to its limits."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final

from maia.sandbox.errors import SandboxError
from maia.sandbox.limits import Limits, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from maia.sandbox.host.guest import Guest

__all__ = ["GRACE_S", "Watch"]

GRACE_S: Final = 0.3
"""How long a block may take to stop by itself before it is killed."""

_SHORTEST_S: Final = 0.005
_NUDGE_S: Final = 0.03


class Watch:
    """Two clocks: the wall's, which stands still during tool calls, and the CPU's. Whichever runs out stops the block.

    A stop is soft first (an exception in the block, its variables kept), and a kill after `GRACE_S`.
    """

    def __init__(self, guest: Guest, limits: Limits, on_stop: Callable[[], None]) -> None:
        """Start both clocks.

        Args:
            guest: The process that runs the block; halted until now, so that its figures are known.
            limits: wall_s and cpu_s count.
            on_stop: Called when the block is to stop, so that a tool call can be given up.
        """
        self.reason: Status | None = None
        self.killed = False
        self.tool_s = 0.0
        self._guest = guest
        self._limits = limits
        self._on_stop = on_stop
        self._started = time.monotonic()
        self._cpu_before = guest.cpu_s
        self._tool_since: float | None = None
        self._stopping_since = 0.0
        # CPU time runs no faster than this many times the wall's.
        self._parallel = min(limits.threads, os.cpu_count() or 1)
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None
        self._plan(limits.cpu_s)

    @property
    def wall_s(self) -> float:
        """Seconds so far, without those in tool calls."""
        now = time.monotonic()
        current = 0.0 if self._tool_since is None else now - self._tool_since
        return now - self._started - self.tool_s - current

    @property
    def cpu_s(self) -> float:
        """CPU seconds when the guest was last measured."""
        return max(self._guest.cpu_s - self._cpu_before, 0.0)

    def tool_began(self) -> None:
        """Stop the wall clock."""
        self._tool_since = time.monotonic()

    def tool_ended(self) -> None:
        """Let the wall clock run on."""
        if self._tool_since is not None:
            self.tool_s += time.monotonic() - self._tool_since
            self._tool_since = None
            if self.reason is None:
                self._check_wall()

    def stop(self, reason: Status) -> None:
        """Stop the block, for the first reason given."""
        if self.reason is None:
            self.reason = reason
            self._stopping_since = time.monotonic()
            self._on_stop()
            self._nudge()

    def finish(self) -> None:
        """The block has ended: no more checks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _plan(self, cpu_left: float) -> None:
        """Look again when a clock may have run out, and not before."""
        pause = cpu_left / self._parallel
        if self._tool_since is None:
            pause = min(pause, self._limits.wall_s - self.wall_s)
        self._schedule(max(pause, _SHORTEST_S), self._check)

    def _check_wall(self) -> None:
        """After a tool call. A plan is never put off, or calls one after another would put it off for ever."""
        left = self._limits.wall_s - self.wall_s
        if left <= 0:
            self.stop(Status.WALL_CLOCK)
        elif self._timer is None or self._timer.when() > asyncio.get_running_loop().time() + left:
            self._schedule(max(left, _SHORTEST_S), self._check)

    def _check(self) -> None:
        self._timer = None
        if self._tool_since is None and self.wall_s >= self._limits.wall_s:
            self.stop(Status.WALL_CLOCK)
        elif self._look is None or self._look.done():
            self._look = asyncio.ensure_future(self._check_cpu())

    async def _check_cpu(self) -> None:
        try:
            await self._guest.measure()
        except SandboxError:
            return  # it has ended, which the session learns another way
        if self.reason is None:
            cpu_left = self._limits.cpu_s - self.cpu_s
            if cpu_left <= 0:
                self.stop(Status.CPU)
            else:
                self._plan(cpu_left)

    def _nudge(self) -> None:
        """Ask again: a guest hears nothing before its block has begun; one that is stopping takes no notice."""
        if time.monotonic() - self._stopping_since >= GRACE_S:
            self._kill()
            return
        self._guest.interrupt()
        self._schedule(_NUDGE_S, self._nudge)

    def _kill(self) -> None:
        self.killed = True
        self._guest.kill()

    def _schedule(self, delay: float, what: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay, what)
