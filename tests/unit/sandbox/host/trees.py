"""The processes that a host launches, for tests that end them."""

from __future__ import annotations

import os
import signal

from maia.sandbox import Host
from maia.sandbox.host.tiers.forked import ForkedTier


def launched(host: Host) -> int:
    """The first of them, with which all others end in a jail."""
    assert isinstance(host._tier, ForkedTier)
    process = host._tier._process
    assert process is not None
    return process.pid


def kill_all_sessions(host: Host) -> None:
    """As the kernel does when it runs out of memory."""
    os.kill(launched(host), signal.SIGKILL)
