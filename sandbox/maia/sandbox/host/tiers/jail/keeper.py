"""The init of a jail's pid namespace: starts the zygote, again if it dies, and reaps what it leaves behind.

It runs no guest code and imports nothing that guests import. When it ends, the kernel ends everything in its namespace,
so it ends when the host closes its side of the control socket, even by dying.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["keep"]

_MAX_DEATHS: Final = 5
"""A zygote that died this often in a row, soon after its start, would die again."""

_SOON_S: Final = 10.0


def keep(control: socket.socket, serve: Callable[[], object]) -> int:
    """Run `serve` in a child, and again whenever it dies, until the host is gone.

    Returns:
        An exit status: 0 when the host is gone, 1 when the zygote does not stay alive.
    """
    bell_read, bell_write = os.pipe()
    os.set_blocking(bell_write, False)
    os.set_blocking(bell_read, False)
    signal.set_wakeup_fd(bell_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    events = select.poll()
    events.register(control, select.POLLRDHUP)
    events.register(bell_read, select.POLLIN)
    deaths = 0
    while deaths < _MAX_DEATHS:
        started = time.monotonic()
        zygote = _fork(serve, (bell_read, bell_write))
        while zygote:
            if any(descriptor == control.fileno() for descriptor, _ in events.poll()):
                return 0
            os.read(bell_read, 4096)
            zygote = _reap(control, zygote)
        deaths = deaths + 1 if time.monotonic() - started < _SOON_S else 0
    return 1


def _fork(serve: Callable[[], object], bell: tuple[int, int]) -> int:
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in bell:
            os.close(descriptor)
        serve()
        os._exit(0)
    return child


def _reap(control: socket.socket, zygote: int) -> int:
    """Collect the dead, supervisors without a zygote too. Returns the zygote, or 0 if it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if pid == 0:
            return zygote
        if pid == zygote:
            zygote = 0
            control.send(json.dumps({"zygote_died": status}).encode())
