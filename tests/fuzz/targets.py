"""What the readers of hostile bytes promise, as functions of any bytes: they return, or an assertion fails.

Bytes may be refused by a ProtocolError; that is all. Any other exception is a finding, as is a broken promise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError
from maia.sandbox.protocol.census import count_messages
from maia.sandbox.protocol.frames import HEADER_BYTES, decode, encode
from maia.sandbox.protocol.values import decode_call, decode_value, encode_call, encode_value

__all__ = ["TARGETS", "frame", "value"]


def frame(data: bytes) -> None:
    """The body of a guest's frame: the census counts what parsing makes, and what was read can be written and read."""
    try:
        counted = count_messages(data, pb.GuestFrame)
    except ProtocolError:
        counted = None
    try:
        message = decode(data, pb.GuestFrame)
    except ProtocolError:
        return
    assert counted is None or _parts(message) <= counted, "parsing makes more than was counted"
    again = decode(encode(message)[HEADER_BYTES:], pb.GuestFrame)
    assert _canonical(again) == _canonical(message)
    if message.WhichOneof("kind") == "tool_call":
        _call(message.tool_call)


def _call(call: pb.ToolCall) -> None:
    """The arguments of a call."""
    try:
        arguments, keywords = decode_call(call.arguments, call.keywords)
    except ProtocolError:
        return
    sent, named = encode_call(arguments, keywords)
    assert len(sent) == len(call.arguments)
    assert sorted(named) == sorted(call.keywords)


def value(data: bytes) -> None:
    """One value: what was read can be written, and reads the same."""
    try:
        first = decode_value(decode(data, pb.Value))
    except ProtocolError:
        return
    written = encode_value(first)
    again = decode_value(decode(written.SerializeToString(), pb.Value))
    assert _canonical(encode_value(again)) == _canonical(written)


def _canonical(message: Any) -> bytes:
    """Bytes that are equal for equal messages, and for a number that is none, which equals nothing."""
    return bytes(message.SerializeToString(deterministic=True))


def _parts(message: Any) -> int:
    """Messages and list items in a parsed message, itself not counted."""
    count = 0
    for field, content in message.ListFields():
        if field.message_type is None:
            count += len(content) if field.is_repeated else 1
        elif field.message_type.GetOptions().map_entry:
            count += sum(1 + _parts(item) for item in content.values())
        elif field.is_repeated:
            count += sum(1 + _parts(item) for item in content)
        else:
            count += 1 + _parts(content)
    return count


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"frame": frame, "value": value}
"""By the name of the corpus."""
