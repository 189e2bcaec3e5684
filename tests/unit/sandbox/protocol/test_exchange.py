"""A container's side and a host's, connected by a line, in one process."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.sandbox.errors import ProtocolError
from maia.sandbox.protocol import mux
from maia.sandbox.protocol.exchange import End, Exchange
from maia.sandbox.protocol.mux import WINDOW, Stream


class Side:
    """One exchange, its local ends, and what a session or a guest would hold of them."""

    def __init__(self, line: socket.socket, *, container: bool) -> None:
        self.line = line
        self.poll = select.poll()
        self.ready = 0
        self.watched: set[int] = set()
        self.control, control = socket.socketpair()
        self.channel, channel = socket.socketpair()
        self.reading, self.writing = os.pipe()
        self.files = [line, self.control, control, self.channel, channel]
        for one in self.files:
            one.setblocking(False)
        for descriptor in (self.reading, self.writing):
            os.set_blocking(descriptor, False)
        output = End(self.reading, -1, lambda: None) if container else End(-1, self.writing, self.close_output)
        ends = {
            Stream.CONTROL: End(control.fileno(), control.fileno(), lambda: control.shutdown(socket.SHUT_WR)),
            Stream.CHANNEL: End(channel.fileno(), channel.fileno(), lambda: channel.shutdown(socket.SHUT_WR)),
            Stream.OUTPUT: output,
        }
        descriptors = (line.fileno(), line.fileno())
        self.exchange = Exchange(descriptors, ends, self.watch, on_ready=None if container else self.count_ready)

    def count_ready(self) -> None:
        self.ready += 1

    def watch(self, descriptor: int, events: int) -> None:
        if events:
            self.poll.register(descriptor, events)
            self.watched.add(descriptor)
        else:
            self.poll.unregister(descriptor)
            self.watched.discard(descriptor)

    def turn(self) -> bool:
        happened = self.poll.poll(0)
        for descriptor, events in happened:
            self.exchange.on_event(descriptor, events)
        return bool(happened)

    def close_output(self) -> None:
        os.close(self.writing)
        self.writing = -1

    def close(self) -> None:
        self.exchange.stop()
        for one in self.files:
            one.close()
        for descriptor in (self.reading, self.writing):
            if descriptor >= 0:
                os.close(descriptor)


@contextlib.contextmanager
def connected() -> Iterator[tuple[Side, Side]]:
    one, other = socket.socketpair()
    host, container = Side(one, container=False), Side(other, container=True)
    other.send(mux.ready())
    try:
        yield host, container
    finally:
        host.close()
        container.close()


def settle(*sides: Side) -> None:
    """Until nothing can be done any more."""
    while sum(side.turn() for side in sides):
        pass


def read(source: socket.socket | int) -> bytes:
    parts = []
    with contextlib.suppress(BlockingIOError):
        while part := (os.read(source, 1 << 20) if isinstance(source, int) else source.recv(1 << 20)):
            parts.append(part)
    return b"".join(parts)


def write_all_you_can(sink: socket.socket | int, *sides: Side, most: int = 1 << 30) -> int:
    """Returns how much was taken before nobody took any more."""
    portion, written = bytes(65536), 0
    while written < most:
        try:
            written += os.write(sink if isinstance(sink, int) else sink.fileno(), portion)
        except BlockingIOError:
            before = [side.turn() for side in sides]
            if not any(before):
                return written
    return written


def test_the_container_says_that_it_is_ready() -> None:
    with connected() as (host, container):
        settle(host, container)
        assert host.ready == 1


def test_bytes_travel_both_ways() -> None:
    with connected() as (host, container):
        host.control.send(b"start")
        host.channel.send(b"block")
        container.control.send(b"started")
        container.channel.send(b"done")
        os.write(container.writing, b"printed")
        settle(host, container)
        assert (container.control.recv(99), container.channel.recv(99)) == (b"start", b"block")
        assert (host.control.recv(99), host.channel.recv(99)) == (b"started", b"done")
        assert os.read(host.reading, 99) == b"printed"


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=5000), st.integers(1, 400))
def test_a_long_stream_arrives_whole(pattern: bytes, times: int) -> None:
    sent = pattern * times
    with connected() as (host, container):
        rest, arrived = memoryview(sent), b""
        while len(arrived) < len(sent):
            with contextlib.suppress(BlockingIOError):
                rest = rest[container.channel.send(rest) :] if rest else rest
            settle(host, container)
            arrived += read(host.channel)
        assert arrived == sent


@pytest.mark.parametrize("stream", ["channel", "output"])
def test_control_gets_through_while_another_stream_is_full(stream: str) -> None:
    with connected() as (host, container):
        write_all_you_can(container.channel if stream == "channel" else container.writing, host, container)
        write_all_you_can(host.channel, host, container)
        host.control.send(b"kill")
        container.control.send(b"ended")
        settle(host, container)
        assert container.control.recv(99) == b"kill"
        assert host.control.recv(99) == b"ended"


def test_who_floods_is_made_to_wait_and_nobody_keeps_much() -> None:
    with connected() as (host, container):
        kept = write_all_you_can(container.channel, host, container)
        assert kept < WINDOW[Stream.CHANNEL] + 2 * (1 << 20)  # the window, and what the kernel's sockets hold
        assert host.watched, "it goes on when it is read"
        assert len(read(host.channel)) > 0
        settle(host, container)
        assert write_all_you_can(container.channel, host, container, most=1) > 0


def test_output_is_passed_on_before_the_frame_that_followed_it() -> None:
    with connected() as (host, container):
        for number in range(300):
            os.write(container.writing, b"%03d" % number)
            container.channel.send(b"%03d" % number)
            if number % 7 == 0:
                container.turn()
            host.turn()
            frames = read(host.channel)
            if frames:
                assert read(host.reading).endswith(frames[-3:]) or frames == b""
        settle(host, container)


def test_a_frame_waits_for_the_output_before_it() -> None:
    with connected() as (host, container):
        write_all_you_can(container.writing, host, container)
        container.channel.send(b"frame")
        settle(host, container)
        assert read(host.channel) == b""
        printed = 0
        while printed < WINDOW[Stream.OUTPUT]:
            printed += len(read(host.reading))
            settle(host, container)
        while not (frame := read(host.channel)):
            read(host.reading)
            settle(host, container)
        assert frame == b"frame"


def test_the_end_of_a_stream_arrives_after_its_bytes() -> None:
    with connected() as (host, container):
        os.write(container.writing, b"last words")
        os.close(container.writing)
        container.writing = -1
        host.control.send(b"bye")
        host.control.shutdown(socket.SHUT_WR)
        settle(host, container)
        assert os.read(host.reading, 99) == b"last words"
        assert os.read(host.reading, 99) == b""
        assert container.control.recv(99) == b"bye"
        assert container.control.recv(99) == b""


def test_what_nobody_reads_any_more_is_thrown_away() -> None:
    with connected() as (host, container):
        host.channel.close()
        assert write_all_you_can(container.channel, host, container, most=4 << 20) >= 4 << 20


def test_what_came_before_the_line_ended_is_still_passed_on() -> None:
    with connected() as (host, container):
        written = write_all_you_can(container.channel, host, container, most=512 * 1024)
        settle(host, container)
        container.line.shutdown(socket.SHUT_RDWR)
        settle(host)
        assert host.exchange.line_ended
        arrived = 0
        while not host.exchange.delivered_everything:
            arrived += len(read(host.channel))
            settle(host)
        assert arrived + len(read(host.channel)) == written


def violate(line: bytes, *, greeted: bool = True) -> Callable[[], None]:
    def run() -> None:
        ours, theirs = socket.socketpair()
        host = Side(ours, container=False)
        try:
            theirs.sendall((mux.ready() if greeted else b"") + line)
            while host.turn():
                pass
        finally:
            host.close()
            theirs.close()

    return run


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\x09\x00\x00\x00", "unknown kind"),
        (mux.ready(), "once, and before all else"),
        (mux.credit(Stream.CHANNEL, 1), "more of CHANNEL has been passed on"),
        (mux.credit(Stream.OUTPUT, 1), "more of OUTPUT has been passed on"),
        (mux.piece(Stream.CONTROL, bytes(65536)) * 2, "more of CONTROL than its window"),
        (mux.end(Stream.OUTPUT) + mux.piece(Stream.OUTPUT, b"x"), "OUTPUT where none may come"),
    ],
)
def test_a_hostile_container_is_found_out(line: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        violate(line)()


@pytest.mark.parametrize("line", [mux.piece(Stream.CHANNEL, b"x"), mux.end(Stream.CONTROL), b"\x00\x00\x00\x63"])
def test_before_all_else_the_container_says_that_it_is_ready(line: bytes) -> None:
    with pytest.raises(ProtocolError, match=r"before all else|version 99"):
        violate(line, greeted=False)()


def test_a_container_takes_no_output() -> None:
    ours, theirs = socket.socketpair()
    container = Side(ours, container=True)
    theirs.sendall(mux.piece(Stream.OUTPUT, b"x"))
    with pytest.raises(ProtocolError, match="where none may come"):
        container.turn()
    container.close()
    theirs.close()
