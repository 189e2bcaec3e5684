"""The host's end of a container's line: what is attached to its standard streams, taken apart into a session's ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from maia.sandbox.errors import ProtocolError, SandboxError
from maia.sandbox.protocol.exchange import End, Exchange
from maia.sandbox.protocol.mux import Stream

__all__ = ["Attached", "Relay"]

_HEADER_BYTES: Final = 8
_STDOUT: Final = 1
_MOST_ERRORS: Final = 64 * 1024
_KEPT_ERRORS: Final = 4000


class Attached:
    """Takes the engine's framing off what is attached to.

    Before each portion come eight bytes, of which the first names the stream and the last four count (Docker Engine
    API, "Attach to a container").

    Attributes:
        errors: The end of what came on standard error.
    """

    def __init__(self) -> None:
        """At the start of the attached stream."""
        self.errors = ""
        self._header = b""
        self._rest = 0
        self._is_output = False
        self._error_bytes = 0

    def unwrap(self, data: bytes) -> bytes:
        """Returns what of this was written to standard output.

        Raises:
            ProtocolError: There is so much on standard error that no relay of ours wrote it.
        """
        output: list[bytes] = []
        at = 0
        while at < len(data):
            if self._rest:
                portion = data[at : at + self._rest]
                at += len(portion)
                self._rest -= len(portion)
                if self._is_output:
                    output.append(portion)
                else:
                    self._keep(portion)
                continue
            wanted = _HEADER_BYTES - len(self._header)
            self._header += data[at : at + wanted]
            at += wanted
            if len(self._header) == _HEADER_BYTES:
                self._is_output = self._header[0] == _STDOUT
                self._rest = int.from_bytes(self._header[4:], "big")
                self._header = b""
        return b"".join(output)

    def _keep(self, portion: bytes) -> None:
        self._error_bytes += len(portion)
        self.errors = (self.errors + portion.decode(errors="replace"))[-_KEPT_ERRORS:]
        if self._error_bytes > _MOST_ERRORS:
            raise ProtocolError(f"more than {_MOST_ERRORS:,} bytes on the container's standard error")


class Relay:
    """Carries one session between its local ends and the attached socket, on the running event loop.

    Attributes:
        control: For the session: lines to and from the supervisor; like the other two, whoever takes it closes it.
        channel: For the session: frames to and from the guest.
        output: For the session: reading end of what the guest prints.
        ready: Done once the container's relay is warm; a SandboxError if it ends before that.
    """

    def __init__(self, line: socket.socket, on_end: Callable[[], None]) -> None:
        """Take the attached socket.

        Args:
            line: Not yet read from.
            on_end: Called once, soon after the container has ended or broken the rules; not after `close`.
        """
        self._loop = asyncio.get_running_loop()
        self._line = line
        self._on_end = on_end
        self._open = True
        self._attached = Attached()
        self._watched: dict[int, int] = {}
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.control, self._control = socket.socketpair()
        self.channel, self._channel = socket.socketpair()
        self.output, self._output = os.pipe()
        for one in (line, self.control, self._control, self.channel, self._channel):
            one.setblocking(False)  # noqa: FBT003  the socket's own signature
        for descriptor in (self.output, self._output):
            os.set_blocking(descriptor, False)
        ends = {
            Stream.CONTROL: _end_of(self._control),
            Stream.CHANNEL: _end_of(self._channel),
            Stream.OUTPUT: End(source=-1, sink=self._output, finish=self._end_output),
        }
        self._exchange = Exchange(
            (line.fileno(), line.fileno()),
            ends,
            self._watch,
            unwrap=self._attached.unwrap,
            on_ready=self._on_ready,
        )

    @property
    def errors(self) -> str:
        """The last words on the container's standard error."""
        return self._attached.errors.strip()

    def close(self) -> None:
        """Let go of the container, whose relay then ends, and close everything but the session's ends."""
        if not self._open:
            return
        self._open = False
        self._exchange.stop()
        self._line.close()
        self._control.close()
        self._channel.close()
        self._end_output()
        if not self.ready.done():
            self.ready.cancel()

    def close_session_ends(self) -> None:
        """Close what a session would have taken."""
        self.control.close()
        self.channel.close()
        with contextlib.suppress(OSError):
            os.close(self.output)
        self.output = -1

    def _end_output(self) -> None:
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def _on_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def _watch(self, descriptor: int, events: int) -> None:
        before = self._watched.get(descriptor, 0)
        self._watched[descriptor] = events
        if (before ^ events) & select.POLLIN:
            if events & select.POLLIN:
                self._loop.add_reader(descriptor, self._on_event, descriptor, select.POLLIN)
            else:
                self._loop.remove_reader(descriptor)
        if (before ^ events) & select.POLLOUT:
            if events & select.POLLOUT:
                self._loop.add_writer(descriptor, self._on_event, descriptor, select.POLLOUT)
            else:
                self._loop.remove_writer(descriptor)

    def _on_event(self, descriptor: int, events: int) -> None:
        try:
            self._exchange.on_event(descriptor, events)
        except ProtocolError as error:
            self._end(f"the container broke the rules: {error}")
            return
        if self._exchange.line_ended and self._exchange.delivered_everything:
            self._end("the container ended")

    def _end(self, reason: str) -> None:
        if not self._open:
            return
        if not self.ready.done():
            self.ready.set_exception(SandboxError(f"{reason} before it was ready: {self.errors or 'without a word'}"))
            self.ready.exception()  # seen: a container that dies in a pool has nobody waiting for it
        self.close()
        self._on_end()


def _end_of(local: socket.socket) -> End:
    return End(source=local.fileno(), sink=local.fileno(), finish=partial(_finish, local))


def _finish(local: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the session has closed its end
        local.shutdown(socket.SHUT_WR)
