"""Counting the messages in a frame before it is parsed.

An empty message takes two bytes on the wire and some thirty once parsed, so a frame within its bound could still fill a
host's memory. Large frames are therefore walked first: bytes and text are skipped, messages are entered and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor

from maia.sandbox.errors import ProtocolError

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["MAX_MESSAGES", "count_messages"]

MAX_MESSAGES: Final = 100_000
"""Most fields and messages in one frame; the codec's bound on values allows fewer."""

_OPAQUE: Final = (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}


def count_messages(body: bytes, kind: type[Message]) -> int:
    """Count the fields of a serialized message and of all messages within it.

    Args:
        body: Anything; what is no message is refused as soon as that shows.
        kind: What it should be.

    Raises:
        ProtocolError: More than MAX_MESSAGES, or no protobuf wire format.
    """
    count = 0
    pending: list[tuple[int, int, Any]] = [(0, len(body), kind.DESCRIPTOR)]  # upb's descriptors are no Descriptors
    try:
        while pending:
            position, end, descriptor = pending.pop()
            fields: dict[int, FieldDescriptor] = dict(descriptor.fields_by_number)
            while position < end:
                count += 1
                key, position = _varint(body, position)
                wire = key & 7
                if wire == _VARINT:
                    _, position = _varint(body, position)
                elif wire == _BYTES:
                    length, position = _varint(body, position)
                    field = fields.get(key >> 3)
                    if field is not None and field.message_type is not None:
                        pending.append((position, position + length, field.message_type))
                    elif field is not None and field.type not in _OPAQUE:
                        count += length  # packed numbers, eight bytes parsed for as little as one
                    position += length
                else:
                    position += _FIXED_SIZES[wire]
                if count > MAX_MESSAGES:
                    raise ProtocolError(f"a frame of more than {MAX_MESSAGES:,} fields")
            if position != end:
                raise ProtocolError("a field that ends outside its message")
    except (IndexError, KeyError) as error:
        raise ProtocolError("a frame that is no protobuf message") from error
    return count


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """A number of at most ten bytes, and where the next field starts."""
    value = shift = 0
    while shift < 70:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ProtocolError("a number of more than ten bytes")
