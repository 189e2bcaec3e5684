"""First process of a container: carries a session's streams over the container's standard streams.

::

    host ═══ standard input and output ═══ relay (pid 1) ──forks──▶ supervisor ──forks──▶ guest

It runs no guest code. When the host goes, it goes, and the kernel ends the rest of the container with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from functools import partial
from typing import Final, NoReturn

from maia.sandbox.confinement import kernel
from maia.sandbox.confinement.cells import PlainCell
from maia.sandbox.confinement.surrender import Cell, Filters
from maia.sandbox.errors import ProtocolError
from maia.sandbox.guest.supervisor import supervise
from maia.sandbox.guest.zygote import warm_up
from maia.sandbox.protocol.exchange import End, Exchange
from maia.sandbox.protocol.mux import Stream, ready

__all__ = ["main", "serve"]

_MOMENT_S: Final = 0.05


def main() -> NoReturn:
    """Warm up, then carry one session."""
    line = _take_line()
    kernel.prctl("not dumpable", kernel.PR_SET_DUMPABLE, 0)
    warm_up(has_time=lambda: _is_not_needed_yet(line))
    serve(line, PlainCell(Filters.assembled()))


def serve(line: tuple[int, int], cell: Cell) -> NoReturn:
    """Fork a supervisor and carry its streams until the host or the supervisor ends; ends the process.

    Args:
        line: Descriptors of the line to the host, for reading and for writing; the host has been told `ready`.
        cell: What confines the guest.
    """
    control, supervisors_control = socket.socketpair()
    channel, guests_channel = socket.socketpair()
    output, guests_output = os.pipe()
    if os.fork() == 0:
        try:
            for descriptor in (*line, output):
                os.close(descriptor)
            control.close()
            channel.close()
            supervise(supervisors_control, guests_channel, guests_output, cell)
        finally:
            os._exit(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # as the first process it inherits orphans; so they leave no zombies
    supervisors_control.close()
    guests_channel.close()
    os.close(guests_output)
    ends = {
        Stream.CONTROL: _end_of(control),
        Stream.CHANNEL: _end_of(channel),
        Stream.OUTPUT: End(source=output, sink=-1, finish=lambda: None),
    }
    for descriptor in (*line, output):
        os.set_blocking(descriptor, False)
    try:
        _carry(line, ends)
    finally:
        os._exit(0)


def _is_not_needed_yet(line: tuple[int, int]) -> bool:
    """Say that a session may begin, and wait a moment for one: a host that waits for this container begins at once."""
    os.write(line[1], ready())
    events = select.poll()
    events.register(line[0], select.POLLIN)
    return not events.poll(_MOMENT_S * 1000)


def _take_line() -> tuple[int, int]:
    """Move standard input and output out of the way, so that nothing printed by an import gets into the line."""
    line = os.dup(0), os.dup(1)
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return line


def _end_of(local: socket.socket) -> End:
    local.setblocking(False)  # noqa: FBT003  the socket's own signature
    return End(source=local.fileno(), sink=local.fileno(), finish=partial(_finish, local))


def _finish(local: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other end has gone
        local.shutdown(socket.SHUT_WR)


def _carry(line: tuple[int, int], ends: dict[Stream, End]) -> None:
    """Pass bytes both ways until one side has gone and what it said has been delivered."""
    events = select.poll()

    def watch(descriptor: int, wanted: int) -> None:
        if wanted:
            events.register(descriptor, wanted)
        else:
            events.unregister(descriptor)

    exchange = Exchange(line, ends, watch)
    killed = False
    while not exchange.line_ended and not exchange.sent_everything:
        for descriptor, happened in events.poll():
            try:
                exchange.on_event(descriptor, happened)
            except ProtocolError as error:
                sys.exit(f"relay: {error}")
        if exchange.has_ended(Stream.CONTROL) and not killed:
            killed = True
            _kill_others()


def _kill_others() -> None:
    """The supervisor has gone; so must what it left."""
    if os.getpid() == 1:  # anywhere else this would reach processes that are none of ours
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)


if __name__ == "__main__":
    main()
