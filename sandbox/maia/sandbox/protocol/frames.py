"""Frames on a byte stream: four bytes of length, big-endian, then one message."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.message import DecodeError

from maia.sandbox.errors import ProtocolError
from maia.sandbox.protocol.census import count_messages

if TYPE_CHECKING:
    import asyncio

    from google.protobuf.message import Message

__all__ = ["HEADER_BYTES", "MAX_FRAME_BYTES", "BlockingChannel", "decode", "encode", "frame_length", "read_frame"]

MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""Largest message in a frame; more is refused before a byte of it is read."""

HEADER_BYTES: Final = 4
_COUNTED_BYTES: Final = 1 << 18
"""Smaller frames cannot grow to more than some ten megabytes when parsed."""

_M = TypeVar("_M", bound="Message")


def encode(message: Message) -> bytes:
    """Frame a message.

    Raises:
        ProtocolError: It is larger than MAX_FRAME_BYTES.
    """
    body = message.SerializeToString()
    if len(body) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a message of {len(body):,} bytes; at most {MAX_FRAME_BYTES:,} fit a frame")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def decode(body: bytes, kind: type[_M]) -> _M:
    """Parse a frame's body.

    Raises:
        ProtocolError: It is no such message, or one without content.
    """
    if len(body) > _COUNTED_BYTES:
        count_messages(body, kind)
    message = kind()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise ProtocolError(f"a frame of {len(body):,} bytes is no {kind.__name__}") from error
    if "kind" in kind.DESCRIPTOR.oneofs_by_name and message.WhichOneof("kind") is None:
        raise ProtocolError(f"a {kind.__name__} without content")
    return message


def frame_length(header: bytes) -> int:
    """Bytes of the message that a header announces.

    Raises:
        ProtocolError: More than MAX_FRAME_BYTES.
    """
    length = int.from_bytes(header, "big")
    if length > MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame announces {length:,} bytes; at most {MAX_FRAME_BYTES:,} are allowed")
    return length


async def read_frame(reader: asyncio.StreamReader, kind: type[_M]) -> _M:
    """Read one frame.

    Raises:
        ProtocolError: It is too large or no such message.
        asyncio.IncompleteReadError: The stream ended, within the frame if `partial` is not empty.
    """
    length = frame_length(await reader.readexactly(HEADER_BYTES))
    return decode(await reader.readexactly(length), kind)


class BlockingChannel:
    """Frames over file descriptors, for a guest. Uses read and write only, which a seccomp filter can bound well."""

    __slots__ = ("_read_fd", "_write_fd")

    def __init__(self, read_fd: int, write_fd: int) -> None:
        """Take the two ends; they may be the same descriptor. They stay the caller's to close."""
        self._read_fd = read_fd
        self._write_fd = write_fd

    def send(self, message: Message) -> None:
        """Write one frame.

        Raises:
            ProtocolError: It is larger than MAX_FRAME_BYTES; nothing was written.
            OSError: The other end is gone.
        """
        rest = memoryview(encode(message))
        while rest:
            rest = rest[os.write(self._write_fd, rest) :]

    def receive(self, kind: type[_M]) -> _M:
        """Read one frame.

        Raises:
            ProtocolError: It is too large or no such message.
            EOFError: The stream ended.
        """
        return decode(self._exactly(frame_length(self._exactly(HEADER_BYTES))), kind)

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            part = os.read(self._read_fd, min(count, 1 << 20))
            if not part:
                raise EOFError("the channel is closed")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
