"""Holding one block to its limits."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final

from maia.sandbox.limits import Limits, Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from maia.sandbox.host.guest_process import GuestProcess

__all__ = ["GRACE_S", "Watch"]

GRACE_S: Final = 0.3
"""How long a block may take to stop by itself before it is killed."""

_SHORTEST_S: Final = 0.005


class Watch:
    """Two clocks: the wall's, which stands still during tool calls, and the CPU's. Whichever runs out stops the block.

    A stop is soft first (an exception in the block, its variables kept), and a kill after `GRACE_S`.
    """

    def __init__(self, guest: GuestProcess, limits: Limits, on_stop: Callable[[], None]) -> None:
        """Start both clocks.

        Args:
            guest: The process that runs the block.
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
        self._cpu_before = guest.cpu_s()
        self._tool_since: float | None = None
        # CPU time runs no faster than this many times the wall's.
        self._parallel = min(limits.threads, os.cpu_count() or 1)
        self._timer: asyncio.TimerHandle | None = None
        self._check()

    @property
    def wall_s(self) -> float:
        """Seconds so far, without those in tool calls."""
        now = time.monotonic()
        current = 0.0 if self._tool_since is None else now - self._tool_since
        return now - self._started - self.tool_s - current

    @property
    def cpu_s(self) -> float:
        """CPU seconds so far."""
        return self._guest.cpu_s() - self._cpu_before

    def cpu_of_life(self, life_cpu_s: float) -> float:
        """This block's share of what the kernel counted over the process's whole life."""
        return max(life_cpu_s - self._cpu_before, 0.0)

    def tool_began(self) -> None:
        """Stop the wall clock."""
        self._tool_since = time.monotonic()

    def tool_ended(self) -> None:
        """Let the wall clock run on."""
        if self._tool_since is not None:
            self.tool_s += time.monotonic() - self._tool_since
            self._tool_since = None
            if self.reason is None:
                self._check()

    def stop(self, reason: Status) -> None:
        """Stop the block, for the first reason given."""
        if self.reason is None:
            self.reason = reason
            self._guest.interrupt()
            self._schedule(GRACE_S, self._kill)
            self._on_stop()

    def finish(self) -> None:
        """The block has ended: no more checks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        wall_left = self._limits.wall_s - self.wall_s
        cpu_left = self._limits.cpu_s - self.cpu_s
        if self._tool_since is None and wall_left <= 0:
            self.stop(Status.WALL_CLOCK)
        elif cpu_left <= 0:
            self.stop(Status.CPU)
        else:
            pause = cpu_left / self._parallel
            if self._tool_since is None:
                pause = min(pause, wall_left)
            self._schedule(max(pause, _SHORTEST_S), self._check)

    def _kill(self) -> None:
        self.killed = True
        self._guest.kill()

    def _schedule(self, delay: float, what: Callable[[], None]) -> None:
        self.finish()
        self._timer = asyncio.get_running_loop().call_later(delay, what)
