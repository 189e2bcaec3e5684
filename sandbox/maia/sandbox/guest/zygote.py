"""A warm process that forks sessions: no threads, no secrets, everything imported that guests usually import."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import socket
from importlib import import_module
from typing import TYPE_CHECKING, Final

from maia.sandbox.guest.supervisor import supervise
from maia.sandbox.protocol.control import MAX_DATAGRAM, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from maia.sandbox.confinement.surrender import Cell

__all__ = ["ENVIRONMENT", "serve", "warm_up"]

ENVIRONMENT: Final = {
    "MPLBACKEND": "Agg",
    "OPENBLAS_NUM_THREADS": "1",  # its threads would not survive the fork
    "OMP_NUM_THREADS": "1",
    "LANG": "C.UTF-8",
}
PRELOADED: Final = (
    "maia.sandbox.guest.runner",
    "numpy",
    "numpy.linalg",
    "numpy.fft",
    "numpy.random",
    "numpy.ma",
    "PIL.Image",
    "PIL.ImageChops",
    "PIL.ImageColor",
    "PIL.ImageDraw",
    "PIL.ImageEnhance",
    "PIL.ImageFilter",
    "PIL.ImageFont",
    "PIL.ImageOps",
    "PIL.ImageStat",
    "PIL.PngImagePlugin",
    "collections.abc",
    "dataclasses",
    "itertools",
    "json",
    "math",
    "pydoc",
    "random",
    "statistics",
)
_SLOW: Final = ("matplotlib.pyplot",)
"""What most sessions use. Each adds to the time of a fork, 0.1 ms for a megabyte: matplotlib costs 2.5 ms a session and
saves 0.4 s in each that draws; SciPy's parts come faster, so they are left to whoever imports them."""

_M_ARENA_MAX: Final = -8


def serve(control: socket.socket, cell: Cell, home: str) -> None:
    """Fork a session's supervisor for each request on the control socket, until the host closes it.

    Args:
        control: Datagrams of `protocol.control`.
        cell: The tier's.
        home: See `warm_up`.
    """
    warm_up(home)
    control.send(json.dumps({"ready": os.getpid()}).encode())
    events = select.poll()
    events.register(control, select.POLLIN)
    supervisors: dict[int, int] = {}  # by pidfd
    while True:
        for descriptor, _ in events.poll():
            if descriptor in supervisors:
                events.unregister(descriptor)
                os.waitpid(supervisors.pop(descriptor), 0)
                os.close(descriptor)
                continue
            datagram, descriptors, _, _ = socket.recv_fds(control, MAX_DATAGRAM, 3)
            if not datagram:
                return
            request = parse(datagram)
            if "answer" in request:
                control.send(json.dumps({"answered": request["answer"]}).encode())
                continue
            pidfd, pid = _open(control, cell, request, descriptors)
            supervisors[pidfd] = pid
            events.register(pidfd, select.POLLIN)


def warm_up(home: str = "/tmp", has_time: Callable[[], bool] = lambda: True) -> None:  # noqa: S108  a tier's own
    """Import, then move all that was made out of the garbage collector's sight, so that forks share it.

    Args:
        home: Where libraries keep what they cache.
        has_time: Asked before what takes longest, which is left to whoever needs it if the answer is no.
    """
    os.environ.clear()
    os.environ.update(ENVIRONMENT, HOME=home, MPLCONFIGDIR=home)
    # Threads of a guest would each reserve 128 MiB of address space, which its limit counts.
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    for name in PRELOADED:
        import_module(name)
    import_module("PIL.Image").preinit()
    if has_time():
        for name in _SLOW:
            import_module(name)
    gc.collect()
    gc.freeze()


def _open(control: socket.socket, cell: Cell, request: dict[str, object], descriptors: list[int]) -> tuple[int, int]:
    """Fork a supervisor and hand its pidfd to the host."""
    cell.before_fork()
    pid = os.fork()
    if pid == 0:
        try:
            control.close()
            lines, channel, output = descriptors
            supervise(socket.socket(fileno=lines), socket.socket(fileno=channel), output, cell)
        finally:
            os._exit(1)  # whatever happens, it ends here and not in the zygote's loop
    cell.after_fork()
    for descriptor in descriptors:
        os.close(descriptor)
    pidfd = os.pidfd_open(pid)
    socket.send_fds(control, [json.dumps({"opened": request["open"]}).encode()], [pidfd])
    return pidfd, pid
