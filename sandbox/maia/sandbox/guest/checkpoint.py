"""A session's one checkpoint: which fork is allowed, where it is held, how it wakes.

A guest's fork asks a seccomp listener (seccomp_unotify(2)). The child writes one datagram to the cradle, a socket pair
on which the kernel names each sender, and is stopped; it sleeps on a read from there until it is sent the same word.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import struct
from typing import Final

__all__ = ["BIRTH", "Checkpoint"]

BIRTH: Final = b"born"
_NOTICE_BYTES: Final = 80  # struct seccomp_notif
_RECEIVE_NOTICE: Final = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV
_ANSWER_NOTICE: Final = 0xC0182101  # SECCOMP_IOCTL_NOTIF_SEND
_NOTICE: Final = struct.Struct("=QI")  # its first fields: its number, and the thread that asks
_LET_IT_RUN: Final = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_CREDENTIALS: Final = struct.Struct("3i")


class Checkpoint:
    """At most one process, held.

    Attributes:
        listener: Where the guest's forks ask.
        cradle: The supervisor's end.
        pid: The process; 0 without one.
        unseen: Whether a fork was let run, and no child has said that it is born by the time that it should have. There
            may be none, for the kernel can refuse it still; or guest code has forked in the runner's place, and the
            child hides.
    """

    def __init__(self, listener: int, cradle: socket.socket) -> None:
        """Nothing is allowed yet.

        Args:
            listener: Of the guest's filter.
            cradle: The supervisor's end.
        """
        self.listener = listener
        self.cradle = cradle
        self.pid = 0
        self._pidfd = -1
        self._awaited = False
        self._fork_allowed = False
        self._under_way = False
        cradle.setblocking(False)  # noqa: FBT003  the socket's own signature
        cradle.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    @property
    def unseen(self) -> bool:
        """See above."""
        return self._awaited and not self._under_way

    @property
    def held(self) -> bool:
        """Whether there is one, alive: the kernel may have chosen it when memory ran out."""
        if not self.pid:
            return False
        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        return not ended.poll(0)

    def allow(self) -> None:
        """Let the guest fork once, after the last checkpoint has gone."""
        self.drop()
        with contextlib.suppress(BlockingIOError):  # what guest code may have written there
            while self.cradle.recv(64):
                pass
        self._fork_allowed = self._under_way = True

    def forbid(self) -> None:
        """Let it fork no more; a child has been born by now, if there is one."""
        self._fork_allowed = self._under_way = False

    def answer(self, guest: int) -> None:
        """Answer a thread that asks to fork: the guest's first may, once."""
        notice = bytearray(_NOTICE_BYTES)
        try:
            fcntl.ioctl(self.listener, _RECEIVE_NOTICE, notice)
        except OSError:  # it was killed while it asked
            return
        number, thread = _NOTICE.unpack_from(notice)
        allowed = self._fork_allowed and thread == guest
        if allowed:
            self._fork_allowed, self._awaited = False, True
        verdict = (0, _LET_IT_RUN) if allowed else (-errno.EPERM, 0)
        with contextlib.suppress(OSError):  # it has been killed meanwhile
            fcntl.ioctl(self.listener, _ANSWER_NOTICE, struct.pack("=QqiI", number, 0, *verdict))

    def born(self, guest: int) -> bool:
        """Read the word of a fork, and hold the process. Returns whether it was one, or none can come any more."""
        try:
            said, ancillary, _, _ = self.cradle.recvmsg(64, socket.CMSG_SPACE(_CREDENTIALS.size))
        except BlockingIOError:
            return False
        if not said:
            return True  # guest code has closed the other end
        pid = next((_CREDENTIALS.unpack(data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS), 0)
        if said != BIRTH or pid in (0, guest, os.getpid()) or self._fork_allowed:
            return False  # guest code wrote it
        self._awaited = False
        with contextlib.suppress(ProcessLookupError):
            self._pidfd = os.pidfd_open(pid)
            self.pid = pid
            signal.pidfd_send_signal(self._pidfd, signal.SIGSTOP)
        return True

    def wake(self) -> int:
        """Let the held process go on; it is the guest now. Returns its number."""
        pid = self.pid
        signal.pidfd_send_signal(self._pidfd, signal.SIGCONT)
        self.cradle.send(BIRTH)
        self.forget()
        return pid

    def drop(self) -> None:
        """Kill it, if there is one."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self.forget()

    def forget(self) -> None:
        """It is no checkpoint any more."""
        os.close(self._pidfd)
        self.pid, self._pidfd = 0, -1
