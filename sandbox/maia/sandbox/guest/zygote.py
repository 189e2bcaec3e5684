"""A warm process that forks sessions: no threads, no secrets, everything imported that guests usually import."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
from importlib import import_module
from typing import Final, NoReturn, Protocol

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.protocol.control import MAX_DATAGRAM, exit_report, parse
from maia.sandbox.protocol.frames import BlockingChannel

__all__ = ["Cell", "serve"]

ENVIRONMENT: Final = {
    "HOME": "/tmp",  # noqa: S108  private to each session
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp",  # noqa: S108  private to each session
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
    "matplotlib.pyplot",
    "collections.abc",
    "dataclasses",
    "itertools",
    "json",
    "math",
    "pydoc",
    "random",
    "statistics",
)
"""What most sessions use. Each adds to the time of a fork, 0.1 ms for a megabyte: matplotlib costs 2.5 ms a session and
saves 0.4 s in each that draws; SciPy's parts come faster, so they are left to whoever imports them."""

_M_ARENA_MAX: Final = -8


class Cell(Protocol):
    """What a tier does around and in a fork; `maia.sandbox.host.tiers.jail.confine.Cell` says more."""

    def before_fork(self) -> None:
        """Prepare the next fork."""

    def after_fork(self) -> None:
        """In the zygote: undo the preparation."""

    def enter(self, channel: int, output: int, limits: dict[str, int]) -> int:
        """In the fork: give everything up but the channel; returns its descriptor."""


def serve(control: socket.socket, cell: Cell) -> None:
    """Fork a session for each request on the control socket, until the host closes it."""
    _warm_up()
    control.send(json.dumps({"ready": os.getpid()}).encode())
    events = select.poll()
    events.register(control, select.POLLIN)
    guests: dict[int, int] = {}  # by pidfd
    while True:
        for descriptor, _ in events.poll():
            if descriptor in guests:
                events.unregister(descriptor)
                _report_exit(control, guests.pop(descriptor))
                os.close(descriptor)
                continue
            datagram, descriptors, _, _ = socket.recv_fds(control, MAX_DATAGRAM, 2)
            if not datagram:
                return
            pidfd, pid = _open(control, cell, parse(datagram), descriptors)
            guests[pidfd] = pid
            events.register(pidfd, select.POLLIN)


def _warm_up() -> None:
    """Import, then move all that was made out of the garbage collector's sight, so that forks share it."""
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    # Threads of a guest would each reserve 128 MiB of address space, which its limit counts.
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    for name in PRELOADED:
        import_module(name)
    import_module("PIL.Image").preinit()
    gc.collect()
    gc.freeze()


def _open(control: socket.socket, cell: Cell, request: dict[str, object], descriptors: list[int]) -> tuple[int, int]:
    """Fork a session and hand its pidfd to the host."""
    cell.before_fork()
    pid = os.fork()
    if pid == 0:
        _become_guest(cell, request, *descriptors)
    cell.after_fork()
    for descriptor in descriptors:
        os.close(descriptor)
    pidfd = os.pidfd_open(pid)
    socket.send_fds(control, [json.dumps({"opened": request["open"], "pid": pid}).encode()], [pidfd])
    return pidfd, pid


def _become_guest(cell: Cell, request: dict[str, object], channel: int, output: int) -> NoReturn:
    """In the fork. Whatever happens, it ends here and not in the zygote's loop."""
    try:
        limits = request["limits"]
        assert isinstance(limits, dict)
        try:
            channel = cell.enter(channel, output, limits)
        except OSError as error:
            step = str(getattr(error, "step", "prepare the session"))
            refused = pb.ConfinementRefused(step=step, errno=error.errno or 0)
            BlockingChannel(channel, channel).send(pb.GuestFrame(refused=refused))
            os._exit(1)
        signal.set_wakeup_fd(-1)
        import_module("maia.sandbox.guest.runner").run(channel)
    finally:
        os._exit(0)


def _report_exit(control: socket.socket, pid: int) -> None:
    _, status, usage = os.wait4(pid, 0)
    control.send(exit_report(pid, status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss))
