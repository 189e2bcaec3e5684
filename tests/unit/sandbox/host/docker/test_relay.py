"""The host's end: what a container writes, taken apart, and what happens when it is not what it should be."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from maia.sandbox.errors import ProtocolError, SandboxError
from maia.sandbox.host.tiers.docker.relay import Attached, Relay
from maia.sandbox.protocol import mux
from maia.sandbox.protocol.mux import Stream

STDOUT, STDERR = 1, 2


def framed(stream: int, data: bytes) -> bytes:
    """As an engine passes on what a container wrote."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


@given(
    st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(max_size=200)), max_size=20),
    st.lists(st.integers(0, 4000), max_size=20),
)
def test_standard_output_and_errors_come_apart_however_they_are_cut(
    written: Sequence[tuple[int, bytes]], cuts: list[int]
) -> None:
    line = b"".join(framed(stream, data) for stream, data in written)
    ends = [0, *sorted(cut for cut in cuts if cut <= len(line)), len(line)]
    attached = Attached()
    output = b"".join(attached.unwrap(line[start:end]) for start, end in itertools.pairwise(ends))
    assert output == b"".join(data for stream, data in written if stream == STDOUT)
    assert bool(attached.errors) == any(data for stream, data in written if stream == STDERR)


def test_only_the_last_words_are_kept_and_a_flood_of_them_is_refused() -> None:
    attached = Attached()
    attached.unwrap(framed(STDERR, b"x" * 60_000 + b"the end"))
    assert len(attached.errors) == 4000
    assert attached.errors.endswith("the end")
    with pytest.raises(ProtocolError, match="standard error"):
        attached.unwrap(framed(STDERR, b"x" * 6_000))


class Container:
    """The other end of an attached socket."""

    def __init__(self) -> None:
        line, self.socket = socket.socketpair()
        self.socket.setblocking(False)
        self.ended = asyncio.Event()
        self.relay = Relay(line, self.ended.set)

    async def write(self, data: bytes, stream: int = STDOUT) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, framed(stream, data))

    async def read(self) -> bytes:
        async with asyncio.timeout(5):
            return await asyncio.get_running_loop().sock_recv(self.socket, 65536)


@pytest_asyncio.fixture
async def container() -> AsyncIterator[Container]:
    made = Container()
    yield made
    made.relay.close()
    made.relay.close_session_ends()
    made.socket.close()


async def recv(end: socket.socket) -> bytes:
    async with asyncio.timeout(5):
        return await asyncio.get_running_loop().sock_recv(end, 65536)


async def test_a_session_speaks_to_its_container_and_is_answered(container: Container) -> None:
    await container.write(mux.ready())
    await container.relay.ready
    container.relay.control.send(b"start\n")
    assert await container.read() == mux.piece(Stream.CONTROL, b"start\n")
    await container.write(mux.piece(Stream.OUTPUT, b"printed") + mux.piece(Stream.CHANNEL, b"frame"))
    assert await recv(container.relay.channel) == b"frame"
    assert os.read(container.relay.output, 99) == b"printed"


async def test_when_the_container_ends_so_do_the_sessions_streams(container: Container) -> None:
    await container.write(mux.ready() + mux.piece(Stream.CONTROL, b"ended\n"))
    container.socket.shutdown(socket.SHUT_WR)
    async with asyncio.timeout(5):
        await container.ended.wait()
    assert await recv(container.relay.control) == b"ended\n"
    assert await recv(container.relay.control) == b""
    assert await recv(container.relay.channel) == b""
    assert os.read(container.relay.output, 99) == b""


@pytest.mark.parametrize("line", [b"\x63garbage", mux.piece(Stream.CHANNEL, b"x" * 65536) * 40])
async def test_a_container_that_breaks_the_rules_is_over(container: Container, line: bytes) -> None:
    await container.write(mux.ready())
    await container.relay.ready
    writing = asyncio.create_task(container.write(line))
    async with asyncio.timeout(5):
        await container.ended.wait()
    await asyncio.wait([writing])
    writing.exception()


async def test_a_container_that_ends_before_it_is_ready_leaves_its_last_words(container: Container) -> None:
    await container.write(b"ModuleNotFoundError: maia", STDERR)
    container.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(SandboxError, match="before it was ready: ModuleNotFoundError: maia"):
        await container.relay.ready


async def test_closing_lets_the_container_go_and_says_nothing(container: Container) -> None:
    await container.write(mux.ready())
    await container.relay.ready
    container.relay.close()
    container.relay.close()
    assert await container.read() == b""
    assert not container.ended.is_set()
    assert await recv(container.relay.control) == b""


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_relays_leave_no_descriptor_behind() -> None:
    await asyncio.sleep(0)
    before = open_files()
    for _ in range(20):
        made = Container()
        made.relay.close()
        made.relay.close_session_ends()
        made.socket.close()
    assert open_files() == before
