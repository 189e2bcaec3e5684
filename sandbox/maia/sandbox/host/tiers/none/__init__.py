"""Sessions without isolation, each a process: for debugging on systems that have no better."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maia.sandbox.errors import TierUnavailableError
from maia.sandbox.host.tiers.tier import Ends, Feature

if TYPE_CHECKING:
    from collections.abc import Callable

    from maia.sandbox.limits import Limits

__all__ = ["OpenTier"]

_FEATURES: Final = (
    Feature("isolation", enforced=False, detail="none: code can do all that this user can; use it for debugging only"),
    Feature(
        "limits",
        enforced=True,
        detail="address space, files, file size by the kernel; wall clock, CPU, output by the host",
    ),
)


class OpenTier:
    """Starts a supervisor for each session."""

    name = "none"
    features = _FEATURES

    async def start(self, cache_dir: Path | None) -> None:  # noqa: ARG002  nothing takes long to find out
        """Nothing to prepare.

        Raises:
            TierUnavailableError: This is no Linux.
        """
        if sys.platform != "linux":
            raise TierUnavailableError(
                "a Linux kernel", 0, f"this is {sys.platform}", "Use Linux, or a Linux VM.", self.name
            )

    async def open(self, limits: Limits) -> Ends:  # noqa: ARG002  they come with the supervisor's first line
        """Start a supervisor; its interpreter imports what guests use, which takes half a second."""
        control, their_control = socket.socketpair()
        channel, their_channel = socket.socketpair()
        output, writing = os.pipe()
        theirs = [their_control.fileno(), their_channel.fileno(), writing]
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-s", "-P", "-B", "-m", "maia.sandbox.host.tiers.none.start"),
                *map(str, theirs),
                env={"PYTHONHASHSEED": "0"},
                pass_fds=theirs,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            their_control.close()
            their_channel.close()
            os.close(writing)
        for end in (control, channel):
            end.setblocking(False)  # noqa: FBT003  the socket's own signature
        os.set_blocking(output, False)
        return Ends(control, channel, output, _destroyer(process))

    async def close(self) -> None:
        """Each session ends by itself."""


def _destroyer(process: asyncio.subprocess.Process) -> Callable[[], None]:
    def destroy() -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    return destroy
