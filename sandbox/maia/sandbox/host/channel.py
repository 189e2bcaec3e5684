"""The host's end of the frames of one session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.protocol.frames import HEADER_BYTES, decode, encode, frame_length

if TYPE_CHECKING:
    import socket

__all__ = ["Channel", "ChannelEndedError"]

_READ_AHEAD: Final = 1 << 20
"""Bytes kept beyond the frame that is read, before the sender is made to wait."""


class ChannelEndedError(Exception):
    """No frame will come any more.

    Attributes:
        within_frame: Whether some bytes of one had come.
    """

    def __init__(self, *, within_frame: bool) -> None:
        super().__init__("the channel has ended")
        self.within_frame = within_frame


class Channel(asyncio.Protocol):
    """Frames over a stream, one reader at a time; the reading can be ended and begun anew while the stream goes on."""

    def __init__(self) -> None:
        """Use `open`."""
        self._buffer = bytearray()
        self._wanted = 0
        self._ended = False
        self._lost = False
        self._reader: asyncio.Future[None] | None = None
        self._writers: asyncio.Future[None] | None = None
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, connected: socket.socket) -> Channel:
        """Take over a connected, non-blocking stream socket."""
        _, channel = await asyncio.get_running_loop().create_connection(cls, sock=connected)
        return channel

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop reads from now on."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self._buffer += data
        if len(self._buffer) > self._wanted + _READ_AHEAD:
            self._transport.pause_reading()
        if len(self._buffer) >= self._wanted:
            _wake(self._reader)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """The other end is closed, or this one."""
        self._lost = True
        self._gone.set()
        _wake(self._reader)
        _wake(self._writers)

    def pause_writing(self) -> None:
        """Too much waits to be written."""
        self._writers = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """There is room again."""
        _wake(self._writers)
        self._writers = None

    # What a session calls

    async def receive(self) -> pb.GuestFrame:
        """Read the guest's next frame.

        Raises:
            ProtocolError: It is too large or no frame of a guest.
            ChannelEndedError: The stream has ended, or `end` was called.
        """
        length = frame_length(await self._take(HEADER_BYTES, begun=False))
        return decode(await self._take(length, begun=True), pb.GuestFrame)

    async def send(self, frame: pb.HostFrame) -> None:
        """Write a frame; returns when little waits to be written.

        Raises:
            ProtocolError: It is too large; nothing was written.
            ChannelEndedError: The stream has ended, or `end` was called.
        """
        await self.write(encode(frame))

    async def write(self, data: bytes) -> None:
        """Write bytes; as `send`."""
        if self._lost or self._ended:
            raise ChannelEndedError(within_frame=False)
        self._transport.write(data)
        if self._writers is not None:
            await self._writers
        if self._lost or self._ended:
            raise ChannelEndedError(within_frame=False)

    def end(self) -> None:
        """The guest has ended: who reads or writes is told so."""
        self._ended = True
        _wake(self._reader)
        _wake(self._writers)

    async def begin_after(self, nonce: bytes) -> None:
        """Forget what the guest that has ended left in the stream, and read its successor's frames.

        Args:
            nonce: Written to the stream by the supervisor, and by us for it.

        Raises:
            ChannelEndedError: The stream has ended.
        """
        self._ended = False
        self._transport.write(nonce)
        while (found := self._buffer.find(nonce)) < 0:
            del self._buffer[: -len(nonce)]
            await self._more(len(self._buffer) + 1, begun=False)
        del self._buffer[: found + len(nonce)]

    def close(self) -> None:
        """End the stream; what was not read is lost."""
        self._transport.abort()  # not close(): what a guest did not read would hold it open

    async def closed(self) -> None:
        """Wait until the socket has been given back."""
        await self._gone.wait()

    async def _take(self, count: int, *, begun: bool) -> bytes:
        if len(self._buffer) < count:
            await self._more(count, begun=begun)
        taken = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return taken

    async def _more(self, count: int, *, begun: bool) -> None:
        self._wanted = count
        while len(self._buffer) < count:
            if self._lost or self._ended:
                raise ChannelEndedError(within_frame=begun or bool(self._buffer))
            self._transport.resume_reading()
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
