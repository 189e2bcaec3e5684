"""One process per session that runs no guest code: it forks the guest and does what the host says to it.

::

    supervisor ──forks──▶ guest ──forks, when the host asks──▶ checkpoint (held by SIGSTOP)

A guest cannot fork by itself. Its clone(2) asks the supervisor, through a seccomp listener, and the supervisor agrees
once for each checkpoint that the host orders. So a session never has more than two processes with guest code, one of
them without CPU, whatever the code does: that bounds processes, and memory at twice the limit of one.

When a guest is killed, its checkpoint takes its place: bytes in the channel that were for the dead or from it are
separated by a nonce that the dead could not know.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn

from maia.sandbox.confinement import kernel
from maia.sandbox.confinement.surrender import GuestEnds
from maia.sandbox.guest.checkpoint import Checkpoint
from maia.sandbox.protocol.control import NONCE_BYTES, line, parse

if TYPE_CHECKING:
    from maia.sandbox.confinement.surrender import Cell

__all__ = ["supervise"]

_LOOK_MS: Final = 50
"""How often a session is searched for a process that it hides, while it may have one."""

_DYING_S: Final = 0.5
"""How long a checkpoint that was killed may take to be gone."""


def supervise(control: socket.socket, channel: socket.socket, output: int, cell: Cell) -> NoReturn:
    """Serve one session until the host closes the control stream; ends the process.

    Args:
        control: To the host: lines of `protocol.control`.
        channel: The guest's end of the frames.
        output: The writing end of what the guest prints.
        cell: The tier's way to confine; its `enter_session` is called here.
    """
    try:
        with contextlib.suppress(ConnectionError):  # the host has gone
            _Supervisor(control, channel, cell).serve(output)
    except Exception:  # noqa: BLE001  a fault of ours: the host keeps what stands on standard error
        traceback.print_exc()
    finally:
        cell.leave_session()
        os._exit(0)


class _Lines:
    """Messages from the host."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._rest = b""

    def read(self) -> list[dict[str, object]] | None:
        """Wait for bytes; returns the messages that are whole, None when the host has gone."""
        data = self._control.recv(65536)
        if not data:
            return None
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [parse(one) for one in whole]


class _Supervisor:
    """The state of one session: its guest and its checkpoint."""

    def __init__(self, control: socket.socket, channel: socket.socket, cell: Cell) -> None:
        self._control = control
        self._channel = channel
        self._cell = cell
        self._lines = _Lines(control)
        self._guest = 0
        self._guest_outside = 0  # as the owner of the cell's /proc knows it
        self._checkpoint: Checkpoint | None = None  # where the guest's forks can be allowed one by one
        self._status_file = -1
        self._events = select.poll()

    # Starting

    def serve(self, output: int) -> None:
        """Fork the guest, let it start on the host's first line, then do what the next say, until there are no more.

        All that does not depend on limits is done before that line comes, while nobody waits for it.
        """
        with contextlib.suppress(OSError):  # the first of a pid namespace is that already
            kernel.prctl("child subreaper", kernel.PR_SET_CHILD_SUBREAPER, 1)
        bell = _make_bell()
        try:
            self._cell.enter_session()
            cradle = self._fork(output)
            first = self._first()
            if first is None:
                return
            self._cell.bound_session(first)
            self._cell.enter_supervisor()
        except OSError as error:
            step = str(getattr(error, "step", f"preparing the session at {error.filename}"))
            self._tell(tell="refused", step=step, errno=error.errno or 0)
            return
        if not self._start(cradle, first):
            return
        self._events.register(self._control, select.POLLIN)
        self._events.register(bell, select.POLLIN)
        while self._next(bell):
            pass
        if self._checkpoint:
            self._checkpoint.drop()
        with contextlib.suppress(ProcessLookupError):
            self._signal(signal.SIGKILL)

    def _next(self, bell: int) -> bool:
        """Wait for something to happen, and see to it. Returns whether the host is still there."""
        unseen = self._checkpoint is not None and self._checkpoint.unseen
        ready = dict(self._events.poll(_LOOK_MS if unseen else None))
        self._look_for_hidden()
        if self._control.fileno() in ready:  # first: it may be the permission for a fork that is asked for now
            messages = self._lines.read()
            if messages is None:
                return False
            self._obey(messages)
        if bell in ready:
            os.read(bell, 4096)
            self._reap()
        if self._checkpoint and (asked := ready.get(self._checkpoint.listener)):
            if asked & select.POLLIN:
                self._checkpoint.answer(self._guest)
            else:
                self._events.unregister(self._checkpoint.listener)  # nobody is left who could ask
        if self._checkpoint and self._checkpoint.cradle.fileno() in ready and self._checkpoint.born(self._guest):
            self._events.unregister(self._checkpoint.cradle)
            self._tell(tell="checkpointed", made=self._checkpoint.held)
        return True

    def _fork(self, output: int) -> socket.socket:
        """Make the guest, which waits for its limits. Returns the supervisor's end of the cradle."""
        cradle, guests = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._guest = os.fork()
        if self._guest == 0:
            cradle.close()
            self._become_guest(guests, output)
        os.close(output)
        guests.close()
        self._watch_memory()
        return cradle

    def _first(self) -> dict[str, int] | None:
        """Wait for the first line. Returns the limits in it, None when the host has gone."""
        messages: list[dict[str, object]] | None = []
        while not messages:
            messages = self._lines.read()
            if messages is None:
                return None
        limits = messages[0]["limits"]  # nothing follows it before it is answered
        assert isinstance(limits, dict)
        return limits

    def _start(self, cradle: socket.socket, limits: dict[str, int]) -> bool:
        """Let the guest confine itself. Returns whether it has; the host is told either way."""
        cradle.send(json.dumps(limits).encode())
        told, descriptors, _, _ = socket.recv_fds(cradle, 4096, 1)
        if not told:
            return False  # it ended before it could say why
        message = json.loads(told)
        if "step" in message:
            self._tell(tell="refused", **message)
            return False
        if descriptors:
            self._checkpoint = Checkpoint(descriptors[0], cradle)
            self._events.register(descriptors[0], select.POLLIN)
        self._tell_of_guest(tell="started", checkpoints=bool(descriptors), **message)
        return True

    def _become_guest(self, cradle: socket.socket, output: int) -> NoReturn:
        """In the fork. Whatever happens, it ends here and not in the supervisor's loop."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a checkpoint that is no longer needed leaves no zombie
            limits = cradle.recv(4096)
            if limits:
                own = GuestEnds(self._channel.fileno(), cradle.fileno())
                ends = self._cell.enter_guest(own, output, json.loads(limits))
                import_module("maia.sandbox.guest.runner").run(ends.channel, ends.cradle)
        except Exception:  # noqa: BLE001  as in `supervise`
            traceback.print_exc()
        finally:
            os._exit(0)

    # Obeying

    def _obey(self, messages: list[dict[str, object]]) -> None:
        for message in messages:
            match message["do"]:
                case "go":
                    self._signal(signal.SIGCONT)
                case "forbid" if self._checkpoint:
                    self._checkpoint.forbid()
                    self._look_for_hidden()
                case "halt":
                    self._signal(signal.SIGSTOP)
                    self._tell(tell="halted", **self._usage())
                case "usage":
                    self._tell(tell="usage", **self._usage())
                case "interrupt":
                    self._signal(signal.SIGINT)
                case "kill":
                    self._signal(signal.SIGKILL)
                case "checkpoint":
                    self._allow_checkpoint()
                case "restore":
                    self._restore(bytes.fromhex(str(message["nonce"])))

    def _tell(self, **fields: object) -> None:
        self._control.sendall(line(**fields))

    def _tell_of_guest(self, **fields: object) -> None:
        """Tell of a guest that is new to the host, and hand its pidfd over where the control stream carries one."""
        said = line(pid=self._guest_outside, **fields)
        try:
            pidfd = os.pidfd_open(self._guest)
        except OSError:  # an old kernel, or gVisor
            self._control.sendall(said)
            return
        socket.send_fds(self._control, [said], [pidfd])
        os.close(pidfd)

    def _signal(self, number: signal.Signals) -> None:
        if self._guest:
            os.kill(self._guest, number)  # a child of ours until we reap it, so the number cannot be another's

    def _allow_checkpoint(self) -> None:
        if self._checkpoint is None or not self._guest:
            self._tell(tell="checkpointed", made=False)
            return
        self._look_for_hidden()
        self._checkpoint.allow()
        self._events.register(self._checkpoint.cradle, select.POLLIN)

    def _restore(self, nonce: bytes) -> None:
        """Put the checkpoint in the dead guest's place."""
        if self._checkpoint is None or not self._checkpoint.held:
            raise ConnectionError("there is nothing to go on from, though the host was told so")
        seen = b""
        while not seen.endswith(nonce):  # read off what the host had sent to the dead
            data = self._channel.recv(65536)
            if not data:
                raise ConnectionError("the host has gone")
            seen = (seen + data)[-NONCE_BYTES:]
        self._channel.sendall(nonce)
        self._guest = self._checkpoint.wake()
        self._watch_memory()
        self._tell_of_guest(tell="restored", **self._usage())

    # What is used, and what ends

    def _look_for_hidden(self) -> None:
        """Make sure that the guest has no process beside its checkpoint, where it may have forked and not said so.

        The fork may yet come: a thread that is let run can be halted before it runs. So this is asked again and again.

        Raises:
            ConnectionError: There is one: it would get around every limit.
        """
        if self._checkpoint is None or not self._checkpoint.unseen:
            return
        patience = time.monotonic() + _DYING_S
        while self._has_more_than(self._checkpoint.pid):
            if time.monotonic() > patience:
                raise ConnectionError("the session hides a process")
            time.sleep(0.005)

    def _has_more_than(self, checkpoint: int) -> bool:
        """Whether there is a process beside the guest and its checkpoint.

        Only the guest's first thread may fork; if that ends before the others, its children become theirs.
        """
        guest = self._guest_outside
        try:
            known = {guest, _number_in(self._cell.proc, checkpoint) if checkpoint else 0}
            return self._first_thread_has_gone() or bool(self._all_children() - known)
        except OSError:  # the guest has ended, or this kernel does not tell
            return self._guest != 0

    def _first_thread_has_gone(self) -> bool:
        """Whether it has, and the guest lives."""
        if b"State:\tZ" not in os.pread(self._status_file, 8192, 0):
            return False
        return os.waitid(os.P_PID, self._guest, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def _all_children(self) -> set[int]:
        found = set(self._numbers("thread-self/children"))
        tasks = os.open(f"{self._guest_outside}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._cell.proc)
        try:
            for task in os.listdir(tasks):  # noqa: PTH208  a descriptor's
                with contextlib.suppress(OSError):  # a thread that has just ended
                    found.update(self._numbers(f"{self._guest_outside}/task/{task}/children"))
        finally:
            os.close(tasks)
        return found

    def _numbers(self, path: str) -> list[int]:
        with os.fdopen(os.open(path, os.O_RDONLY, dir_fd=self._cell.proc)) as file:
            return [int(number) for number in file.read().split()]

    def _watch_memory(self) -> None:
        """Keep the guest's status file open. In a jail's root there is no /proc; the cell's is that of the host."""
        if self._status_file >= 0:
            os.close(self._status_file)
            self._status_file = -1
        proc = self._cell.proc
        if proc < 0:
            return
        with contextlib.suppress(OSError, ValueError):
            self._guest_outside = _number_in(proc, self._guest)
            flags = os.O_RDONLY | os.O_CLOEXEC
            self._status_file = os.open(f"{self._guest_outside}/status", flags, dir_fd=proc)

    def _usage(self) -> dict[str, object]:
        peak = 0
        if self._status_file >= 0:
            with contextlib.suppress(OSError):
                status = os.pread(self._status_file, 8192, 0)
                start = status.find(b"VmHWM:")
                peak = int(status[start + 6 : status.find(b"\n", start)].split()[0]) * 1024 if start >= 0 else 0
        return {"cpu_s": _cpu_s(self._guest), "peak_bytes": peak}

    def _reap(self) -> None:
        """Collect the dead; of the guest's end the host is told."""
        end: dict[str, object] = {}
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == self._guest:
                    self._guest = 0
                    cpu_s = usage.ru_utime + usage.ru_stime
                    end = {"status": status, "cpu_s": cpu_s, "peak_bytes": usage.ru_maxrss * 1024}
                elif self._checkpoint and pid == self._checkpoint.pid:
                    self._checkpoint.forget()
        if end:
            held = self._checkpoint is not None and self._checkpoint.held
            self._tell(tell="ended", checkpoint=held, **end)


def _number_in(proc: int, pid: int) -> int:
    """The number of a process in the pid namespace that a /proc shows."""
    pidfd = os.pidfd_open(pid)
    try:
        with os.fdopen(os.open(f"self/fdinfo/{pidfd}", os.O_RDONLY, dir_fd=proc)) as info:
            fields = dict(row.split(":", 1) for row in info.read().splitlines())
        return int(fields["Pid"])
    finally:
        os.close(pidfd)


def _make_bell() -> int:
    """A descriptor that becomes readable when a child has ended."""
    bell, clapper = os.pipe()
    for end in (bell, clapper):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(clapper, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return bell


def _cpu_s(pid: int) -> float:
    """CPU seconds of a process with all its threads."""
    if pid == 0:
        return 0.0
    try:
        return time.clock_gettime((~pid << 3) | 2)  # as clock_getcpuclockid(3) makes it; no permission is needed
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  quick, and called often
                fields = file.read().rpartition(b")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0
