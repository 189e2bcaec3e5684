"""Three streams over one: pieces, however they are portioned."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.sandbox.errors import ProtocolError
from maia.sandbox.protocol import mux
from maia.sandbox.protocol.mux import MAX_PIECE, VERSION, Credit, Decoder, Piece, Ready, Stream

STREAMS = st.sampled_from(Stream)
MESSAGES = st.one_of(
    st.builds(Piece, STREAMS, st.binary(max_size=300)),
    st.builds(Credit, STREAMS, st.integers(0, 2**24 - 1)),
    st.just(Ready(VERSION)),
)


def encode(message: Ready | Piece | Credit) -> bytes:
    match message:
        case Ready():
            return mux.ready()
        case Credit(stream, count):
            return mux.credit(stream, count)
        case Piece(stream, b""):
            return mux.end(stream)
        case Piece(stream, data):
            return mux.piece(stream, data)


def together(messages: Sequence[Ready | Piece | Credit]) -> list[Ready | Piece | Credit]:
    """The same with neighbouring bytes of a stream put together; how they are cut up means nothing."""
    joined: list[Ready | Piece | Credit] = []
    for message in messages:
        last = joined[-1] if joined else None
        if (
            isinstance(message, Piece)
            and isinstance(last, Piece)
            and message.stream is last.stream
            and message.data
            and last.data
        ):
            joined[-1] = Piece(message.stream, last.data + message.data)
        else:
            joined.append(message)
    return joined


@given(st.lists(MESSAGES, max_size=30), st.lists(st.integers(0, 5000), max_size=30))
def test_what_was_sent_arrives_in_order_however_it_is_cut(
    messages: list[Ready | Piece | Credit], cuts: list[int]
) -> None:
    line = b"".join(map(encode, messages))
    decoder = Decoder()
    ends = [0, *sorted(cut for cut in cuts if cut <= len(line)), len(line)]
    arrived = [message for start, end in itertools.pairwise(ends) for message in decoder.feed(line[start:end])]
    assert together(arrived) == together(messages)


@given(st.binary(max_size=2000))
def test_any_bytes_are_messages_or_a_protocol_error(line: bytes) -> None:
    size = 0
    try:
        for message in Decoder().feed(line):
            size += len(message.data) if isinstance(message, Piece) else 0
    except ProtocolError:
        pass
    assert size <= len(line)


@pytest.mark.parametrize("kind", [4, 127, 128, 132, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(ProtocolError, match=f"kind {kind}"):
        list(Decoder().feed(bytes([kind, 0, 0, 0])))


def test_a_piece_of_more_than_the_most_is_refused_before_a_byte_of_it_comes() -> None:
    header = bytes([Stream.CHANNEL]) + (MAX_PIECE + 1).to_bytes(3, "big")
    with pytest.raises(ProtocolError, match="65,537 bytes"):
        list(Decoder().feed(header))


def test_parts_of_a_piece_are_passed_on_as_they_come() -> None:
    line = mux.piece(Stream.OUTPUT, b"abcdef")
    decoder = Decoder()
    assert list(decoder.feed(line[:6])) == [Piece(Stream.OUTPUT, b"ab")]
    assert list(decoder.feed(line[6:])) == [Piece(Stream.OUTPUT, b"cdef")]
