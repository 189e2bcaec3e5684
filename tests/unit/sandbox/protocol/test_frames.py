"""Frames: whole ones pass, everything else is refused early."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError
from maia.sandbox.protocol.census import MAX_MESSAGES, MAX_TEXT_BYTES, count_messages
from maia.sandbox.protocol.frames import MAX_FRAME_BYTES, BlockingChannel, decode, encode, read_frame

FRAME = pb.GuestFrame(block_ended=pb.GuestBlockEnded(block_id=3, status=pb.STATUS_OK, message="ok"))


def reader_of(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def test_frames_follow_each_other_on_a_stream() -> None:
    reader = reader_of(encode(FRAME) * 2)
    assert await read_frame(reader, pb.GuestFrame) == FRAME
    assert await read_frame(reader, pb.GuestFrame) == FRAME
    with pytest.raises(asyncio.IncompleteReadError) as ended:
        await read_frame(reader, pb.GuestFrame)
    assert not ended.value.partial


async def test_half_a_frame_is_told_from_an_end() -> None:
    with pytest.raises(asyncio.IncompleteReadError) as ended:
        await read_frame(reader_of(encode(FRAME)[:-1]), pb.GuestFrame)
    assert ended.value.partial


async def test_a_length_beyond_the_bound_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(ProtocolError, match="announces"):
        await read_frame(reader_of((MAX_FRAME_BYTES + 1).to_bytes(4, "big")), pb.GuestFrame)


@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\x1a\x05ab"])
def test_a_body_that_is_no_message_or_an_empty_one_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(body, pb.GuestFrame)


@given(st.binary(max_size=300))
def test_arbitrary_bodies_are_a_frame_or_a_protocol_error(body: bytes) -> None:
    for check in (lambda: decode(body, pb.GuestFrame), lambda: count_messages(body, pb.GuestFrame)):
        with contextlib.suppress(ProtocolError):
            check()


def _field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def test_a_frame_that_would_grow_in_parsing_is_refused_before() -> None:
    empty_values = _field(3, _field(3, b"\x1a\x00" * (2 * MAX_MESSAGES)))
    with pytest.raises(ProtocolError, match="fields"):
        decode(empty_values, pb.GuestFrame)
    shape = _field(3, _field(3, _field(13, _field(2, b"\x01" * (3 * MAX_MESSAGES)))))
    with pytest.raises(ProtocolError, match="fields"):
        decode(shape, pb.GuestFrame)


@pytest.mark.parametrize("parts", [1, 3])
def test_text_that_would_grow_in_memory_is_refused_before(parts: int) -> None:
    piece = "x" * (MAX_TEXT_BYTES // parts)
    fitting = pb.GuestFrame(tool_call=pb.ToolCall(arguments=[pb.Value(text=piece)] * parts))
    assert len(decode(fitting.SerializeToString(), pb.GuestFrame).tool_call.arguments) == parts
    fitting.tool_call.name = "one more"
    with pytest.raises(ProtocolError, match="bytes of text"):
        decode(fitting.SerializeToString(), pb.GuestFrame)


def test_the_census_enters_messages_and_skips_bytes() -> None:
    data = pb.GuestFrame(tool_call=pb.ToolCall(name="t", arguments=[pb.Value(data=b"\x1a\x00" * 1000)] * 2))
    assert count_messages(data.SerializeToString(), pb.GuestFrame) == 6


def test_a_blocking_channel_carries_large_frames_both_ways() -> None:
    a_read, b_write = os.pipe()
    b_read, a_write = os.pipe()
    big = pb.GuestFrame(block_ended=pb.GuestBlockEnded(message="x" * 3_000_000))
    here, there = BlockingChannel(a_read, a_write), BlockingChannel(b_read, b_write)
    echo = threading.Thread(target=lambda: there.send(there.receive(pb.GuestFrame)))
    echo.start()
    here.send(big)
    assert here.receive(pb.GuestFrame) == big
    echo.join()
    os.close(b_write)
    with pytest.raises(EOFError):
        here.receive(pb.GuestFrame)
    for descriptor in (a_read, a_write, b_read):
        os.close(descriptor)
