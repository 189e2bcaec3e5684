"""Moves bytes between the local ends of a session's streams and the one line that they share; the same on both sides.

It never waits: whoever drives it polls the descriptors that it names and calls `on_event`.
"""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from maia.sandbox.errors import ProtocolError
from maia.sandbox.protocol import mux
from maia.sandbox.protocol.mux import MAX_PIECE, WINDOW, Credit, Decoder, Piece, Ready, Stream

__all__ = ["End", "Exchange"]

_HIGH: Final = 2 * MAX_PIECE
"""Nothing more is read from local ends while so much waits for the line."""

_READABLE: Final = select.POLLIN | select.POLLHUP | select.POLLERR


@dataclass(frozen=True, slots=True)
class End:
    """This side's end of one stream.

    Attributes:
        source: Non-blocking descriptor of what is to be sent; -1 where this side sends nothing.
        sink: Non-blocking descriptor for what arrives; -1 where nothing may arrive.
        finish: Called when nothing more will arrive and all has been written.
    """

    source: int
    sink: int
    finish: Callable[[], None]


@dataclass(slots=True)
class _Lane:
    """The state of one stream.

    Attributes:
        end: Its local end.
        credit: Bytes that may be sent.
        room: Bytes that may arrive.
        sent_all: The source has ended.
        arrived_all: The other side's has.
        broken: Nobody reads the sink any more; what arrives is thrown away.
        waiting: What has arrived and not been written.
        owed: Bytes written since credit was last given.
    """

    end: End
    credit: int
    room: int
    sent_all: bool
    arrived_all: bool = False
    broken: bool = False
    waiting: bytearray = field(default_factory=bytearray)
    owed: int = 0


class Exchange:
    """One side of a session.

    Output that was written before a frame is sent and passed on before that frame.

    Attributes:
        line_ended: The other side is gone; what came from it before is still passed on.
    """

    def __init__(
        self,
        line: tuple[int, int],
        ends: Mapping[Stream, End],
        watch: Callable[[int, int], None],
        *,
        unwrap: Callable[[bytes], bytes] = bytes,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        """Watch the descriptors; they stay the caller's to close, after `stop`.

        Args:
            line: Non-blocking descriptors to read from and to write to; may be the same.
            ends: Of all three streams.
            watch: Called with a descriptor and the poll events to wait for on it (POLLIN, POLLOUT, both, or none).
            unwrap: Takes what arrives on the line out of what the line's carrier wraps around it.
            on_ready: Called once when the other side says that it is ready, which must come first; None on the side
                that has said it.
        """
        self._line_in, self._line_out = line
        self._watch = watch
        self._unwrap = unwrap
        self._on_ready = on_ready
        self._lanes = {
            stream: _Lane(end, WINDOW[stream], WINDOW[stream], sent_all=end.source < 0) for stream, end in ends.items()
        }
        self._sources = {lane.end.source: stream for stream, lane in self._lanes.items() if lane.end.source >= 0}
        self._decoder = Decoder()
        self._out = bytearray()
        self._held: bytes | None = None  # read from the channel, to be sent when `_debt` bytes of output have been
        self._debt = 0
        self._watched: dict[int, int] = {}
        self._stopped = False
        self.line_ended = False
        self._update()

    def has_ended(self, stream: Stream) -> bool:
        """Whether the local source of a stream has ended."""
        return self._lanes[stream].sent_all

    @property
    def sent_everything(self) -> bool:
        """Whether every local source has ended and all that came from them is on the line."""
        return not self._out and self._held is None and all(lane.sent_all for lane in self._lanes.values())

    @property
    def delivered_everything(self) -> bool:
        """Whether all that has arrived is written, or nobody reads it any more."""
        return not any(lane.waiting for lane in self._lanes.values())

    def on_event(self, descriptor: int, events: int) -> None:
        """Do what a poll event allows.

        Raises:
            ProtocolError: The other side broke the rules; stop.
        """
        if self._stopped:
            return
        if events & _READABLE:
            if descriptor == self._line_in:
                self._read_line()
            elif descriptor in self._sources:
                self._read_source(self._sources[descriptor])
        self._settle()

    def stop(self) -> None:
        """Watch nothing any more. Stopping again does nothing."""
        self._stopped = True
        for descriptor in list(self._watched):
            self._set_watch(descriptor, 0)

    # What arrives

    def _read_line(self) -> None:
        try:
            data = os.read(self._line_in, _HIGH)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.line_ended = True
            return
        for message in self._decoder.feed(self._unwrap(data)):
            if isinstance(message, Ready) or self._on_ready is not None:
                self._take_ready(message)
            elif isinstance(message, Credit):
                self._take_credit(message)
            else:
                self._take_piece(message)

    def _take_ready(self, message: Ready | Piece | Credit) -> None:
        if self._on_ready is None or not isinstance(message, Ready):
            raise ProtocolError("a container says that it is ready once, and before all else")
        if message.version != mux.VERSION:
            raise ProtocolError(
                f"version {message.version} of the protocol, not {mux.VERSION}: another maia is installed there"
            )
        on_ready, self._on_ready = self._on_ready, None
        on_ready()

    def _take_credit(self, message: Credit) -> None:
        lane = self._lanes[message.stream]
        lane.credit += message.count
        if lane.credit > WINDOW[message.stream]:
            raise ProtocolError(f"more of {message.stream.name} has been passed on than was sent")

    def _take_piece(self, message: Piece) -> None:
        lane = self._lanes[message.stream]
        if lane.end.sink < 0 or lane.arrived_all:
            raise ProtocolError(f"bytes of {message.stream.name} where none may come")
        if not message.data:
            lane.arrived_all = True
            if not lane.waiting:
                lane.end.finish()
            return
        lane.room -= len(message.data)
        if lane.room < 0:
            raise ProtocolError(f"more of {message.stream.name} than its window holds")
        lane.waiting += message.data

    def _pass_on(self, lane: _Lane) -> None:
        """Write what has arrived, and give credit for it."""
        before = len(lane.waiting)
        while lane.waiting and not lane.broken:
            try:
                count = os.write(lane.end.sink, lane.waiting)
            except BlockingIOError:
                break
            except OSError:
                lane.broken = True
                break
            del lane.waiting[:count]
        if lane.broken:
            lane.waiting.clear()
        lane.owed += before - len(lane.waiting)
        if before and not lane.waiting and lane.arrived_all:
            lane.end.finish()

    def _give_credit(self) -> None:
        for stream, lane in self._lanes.items():
            if lane.owed >= WINDOW[stream] // 4:
                self._out += mux.credit(stream, lane.owed)
                lane.room += lane.owed
                lane.owed = 0

    # What is sent

    def _may_read(self, stream: Stream) -> bool:
        lane = self._lanes[stream]
        if lane.sent_all or not lane.credit or len(self._out) >= _HIGH:
            return False
        return stream is not Stream.CHANNEL or self._held is None

    def _read_source(self, stream: Stream) -> None:
        if not self._may_read(stream):
            return
        data = self._take(stream, MAX_PIECE)
        if data is None:
            return
        output = self._lanes[Stream.OUTPUT]
        if stream is Stream.CHANNEL and not output.sent_all:
            self._held, self._debt = data, _bytes_in(output.end.source)
        else:
            self._send(stream, data)

    def _take(self, stream: Stream, most: int) -> bytes | None:
        """Read from a source; returns nothing at its end, None if there is nothing now."""
        lane = self._lanes[stream]
        try:
            data = os.read(lane.end.source, min(most, MAX_PIECE, lane.credit))
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        lane.credit -= len(data)
        lane.sent_all = not data
        if stream is Stream.OUTPUT:
            self._debt = max(0, self._debt - len(data)) if data else 0
        return data

    def _send(self, stream: Stream, data: bytes) -> None:
        self._out += mux.piece(stream, data) if data else mux.end(stream)

    def _release_held(self) -> None:
        """Send the output that was written before what is held, then that."""
        if self._held is None:
            return
        while self._debt and self._may_read(Stream.OUTPUT):
            data = self._take(Stream.OUTPUT, self._debt)
            if data is None:
                self._debt = 0
            else:
                self._send(Stream.OUTPUT, data)
        if not self._debt:
            held, self._held = self._held, None
            self._send(Stream.CHANNEL, held)

    def _write_line(self) -> None:
        while self._out and not self.line_ended:
            try:
                count = os.write(self._line_out, self._out)
            except BlockingIOError:
                return
            except OSError:
                self.line_ended = True
                return
            del self._out[:count]

    # Both

    def _settle(self) -> None:
        """Do all that can be done without waiting, and watch for the rest."""
        control, channel, output = (self._lanes[stream] for stream in Stream)
        self._pass_on(control)
        self._pass_on(output)
        if not output.waiting:  # else the channel's bytes would overtake it
            self._pass_on(channel)
        self._release_held()
        self._give_credit()
        self._write_line()
        self._update()

    def _update(self) -> None:
        if self._stopped:
            return
        wanted: dict[int, int] = {}
        if not self.line_ended:
            wanted[self._line_in] = select.POLLIN
            if self._out:
                wanted[self._line_out] = wanted.get(self._line_out, 0) | select.POLLOUT
        held_back = bool(self._lanes[Stream.OUTPUT].waiting)
        for stream, lane in self._lanes.items():
            if self._may_read(stream) and not self.line_ended:
                wanted[lane.end.source] = wanted.get(lane.end.source, 0) | select.POLLIN
            if lane.waiting and not (stream is Stream.CHANNEL and held_back):
                wanted[lane.end.sink] = wanted.get(lane.end.sink, 0) | select.POLLOUT
        for descriptor in self._watched.keys() | wanted.keys():
            self._set_watch(descriptor, wanted.get(descriptor, 0))

    def _set_watch(self, descriptor: int, events: int) -> None:
        if self._watched.get(descriptor, 0) != events:
            self._watch(descriptor, events)
            if events:
                self._watched[descriptor] = events
            else:
                del self._watched[descriptor]


def _bytes_in(pipe: int) -> int:
    """How much can be read from a pipe at this moment."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]
