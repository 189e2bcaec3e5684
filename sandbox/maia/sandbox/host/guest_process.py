"""A guest as the host sees it: a pidfd, and what the kernel says about the process behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Exit", "GuestProcess"]

_REPORT_S: Final = 2.0
"""How long the parent of a dead guest may take to report on it."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended.

    Attributes:
        code: Exit status, or minus the signal that killed it; None where its parent could not tell.
        cpu_s: CPU seconds over its life.
        peak_memory_bytes: Largest resident set.
    """

    code: int | None
    cpu_s: float
    peak_memory_bytes: int


class GuestProcess:
    """One guest. Signals go through the pidfd, so they never reach another process."""

    def __init__(self, pidfd: int, guest_pid: int) -> None:
        """Take over a pidfd.

        Args:
            pidfd: Closed by `close`.
            guest_pid: The process as its parent knows it, in the jail's pid namespace.
        """
        self.guest_pid = guest_pid
        self._pidfd = pidfd
        self.pid = _pid_of(pidfd)
        self._cpu_clock = (~self.pid << 3) | 2  # as clock_getcpuclockid(3) makes it; no permission is needed
        self._last_cpu_s = 0.0
        self._last_peak = 0
        loop = asyncio.get_running_loop()
        self._report: asyncio.Future[Exit] = loop.create_future()
        self.ended = asyncio.Event()
        loop.add_reader(pidfd, self._on_end)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self.ended.set()

    def report(self, how: Exit) -> None:
        """Take the parent's report."""
        if not self._report.done():
            self._report.set_result(how)

    async def exit(self) -> Exit:
        """Wait until the process is gone, and say how it went."""
        await self.ended.wait()
        try:
            return await asyncio.wait_for(asyncio.shield(self._report), _REPORT_S)
        except TimeoutError:
            return Exit(None, self._last_cpu_s, self._last_peak)

    def kill(self) -> None:
        """End the process, and with it, since it is the first of its pid namespace, all others in there."""
        self._signal(signal.SIGKILL)

    def interrupt(self) -> None:
        """Ask the running block to stop."""
        self._signal(signal.SIGINT)

    def freeze(self) -> None:
        """Give the process no more CPU."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended; whoever waits for that learns it from `exit`
            signal.pidfd_send_signal(self._pidfd, number)

    def cpu_s(self) -> float:
        """CPU seconds of all its threads so far."""
        with contextlib.suppress(OSError):  # it has ended: the last figure stands until its parent reports
            self._last_cpu_s = time.clock_gettime(self._cpu_clock)
        return self._last_cpu_s

    def peak_memory_bytes(self) -> int:
        """Largest resident set so far."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return self._last_peak
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self._last_peak = int(line.split()[1]) * 1024
        return self._last_peak

    def close(self) -> None:
        """Kill it if it lives, and give back the descriptor."""
        if self._pidfd >= 0:
            self.kill()
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
            self.ended.set()


def _pid_of(pidfd: int) -> int:
    """The process in our own pid namespace."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        if line.startswith("Pid:") and (pid := int(line.split()[1])) > 0:
            return pid
    raise ProcessLookupError("the guest ended before it was known")
