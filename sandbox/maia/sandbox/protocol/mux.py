"""Three streams over one: a container has only its standard streams, and a session needs control, channel and output.

Every piece starts with four bytes, a kind and a big-endian number:

| kind | number | what follows |
| --- | --- | --- |
| 0 | VERSION | nothing: the container is ready; sent once, before all else |
| a stream | 1 to MAX_PIECE | so many bytes of it |
| a stream | 0 | nothing: the stream has ended in this direction |
| a stream + 128 | n | nothing: n bytes have been passed on, so n more may be sent |

Nobody sends more than WINDOW[stream] bytes that the other side has not passed on. So a stream that nobody reads holds
up no other (a kill gets through while the channel is full), and neither side keeps more than the windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from maia.sandbox.errors import ProtocolError

__all__ = [
    "MAX_PIECE",
    "VERSION",
    "WINDOW",
    "Credit",
    "Decoder",
    "Piece",
    "Ready",
    "Stream",
    "credit",
    "end",
    "piece",
    "ready",
]

VERSION: Final = 1
"""Of this table. A container made from an image that an operator chose may be older or newer than its host."""

MAX_PIECE: Final = 64 * 1024
"""Most bytes in one piece."""

_HEADER_BYTES: Final = 4
_READY: Final = 0
_CREDIT: Final = 128


class Stream(IntEnum):
    """Which stream a piece belongs to."""

    CONTROL = 1
    CHANNEL = 2
    OUTPUT = 3


WINDOW: Final[Mapping[Stream, int]] = MappingProxyType(
    {Stream.CONTROL: 64 * 1024, Stream.CHANNEL: 1024 * 1024, Stream.OUTPUT: 256 * 1024}
)
"""Bytes of a stream that may be on their way in one direction."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The container is ready, and speaks this version."""

    version: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a stream; none at its end."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class Credit:
    """So many bytes of a stream more may be sent."""

    stream: Stream
    count: int


def _header(kind: int, number: int) -> bytes:
    return (kind << 24 | number).to_bytes(_HEADER_BYTES, "big")


def ready() -> bytes:
    """Encode `Ready`."""
    return _header(_READY, VERSION)


def piece(stream: Stream, data: bytes) -> bytes:
    """Encode 1 to MAX_PIECE bytes of a stream."""
    assert 0 < len(data) <= MAX_PIECE
    return _header(stream, len(data)) + data


def end(stream: Stream) -> bytes:
    """Encode the end of a stream."""
    return _header(stream, 0)


def credit(stream: Stream, count: int) -> bytes:
    """Encode `Credit`."""
    return _header(_CREDIT + stream, count)


class Decoder:
    """Reads what the other side sends, in whatever portions it arrives; keeps less than one header."""

    def __init__(self) -> None:
        """At the start of the stream."""
        self._header = b""
        self._stream = Stream.CONTROL
        self._rest = 0  # bytes of the current piece that have not come yet

    def feed(self, data: bytes) -> Iterator[Ready | Piece | Credit]:
        """Take bytes; yields what they complete, and the parts of pieces as they come, neighbours put together.

        Raises:
            ProtocolError: They are none of what this module's table lists; nothing can be read after that.
        """
        gathered: list[bytes] = []  # of `gathered_of`
        gathered_of = self._stream
        at = 0
        while at < len(data):
            if self._rest:
                if gathered and gathered_of is not self._stream:
                    yield Piece(gathered_of, b"".join(gathered))
                    gathered = []
                gathered_of = self._stream
                gathered.append(data[at : at + self._rest])
                at += len(gathered[-1])
                self._rest -= len(gathered[-1])
                continue
            wanted = _HEADER_BYTES - len(self._header)
            self._header += data[at : at + wanted]
            at += wanted
            if len(self._header) == _HEADER_BYTES:
                other = self._open(self._header)
                self._header = b""
                if other is not None:
                    if gathered:
                        yield Piece(gathered_of, b"".join(gathered))
                        gathered = []
                    yield other
        if gathered:
            yield Piece(gathered_of, b"".join(gathered))

    def _open(self, header: bytes) -> Ready | Piece | Credit | None:
        """Understand a header; None where bytes follow."""
        kind, number = header[0], int.from_bytes(header[1:], "big")
        if kind == _READY:
            return Ready(number)
        try:
            stream = Stream(kind & ~_CREDIT)
        except ValueError:
            raise ProtocolError(f"a piece of unknown kind {kind}") from None
        if kind & _CREDIT:
            return Credit(stream, number)
        if number > MAX_PIECE:
            raise ProtocolError(f"a piece of {number:,} bytes; at most {MAX_PIECE:,} are allowed")
        self._stream, self._rest = stream, number
        return None if number else Piece(stream, b"")
