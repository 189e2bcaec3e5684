"""Counting what is in a frame before it is parsed.

An empty message takes two bytes on the wire and some thirty once parsed, and a text with one rare character takes four
times its bytes, so a frame within its bound could still fill a host's memory. Large frames are therefore walked first:
bytes are skipped, text is added up, messages are entered and counted.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor

from maia.sandbox.errors import ProtocolError

if TYPE_CHECKING:
    from google.protobuf.message import Message

__all__ = ["MAX_MESSAGES", "MAX_TEXT_BYTES", "count_messages"]

MAX_MESSAGES: Final = 100_000
"""Most fields and messages in one frame; the codec's bound on values allows fewer."""

MAX_TEXT_BYTES: Final = 1 << 24
"""Most bytes of text in one frame, as UTF-8."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_TEXT: Final = "text"
_PACKED: Final = "packed"


def count_messages(body: bytes, kind: type[Message]) -> int:
    """Count the fields of a serialized message and of all messages within it.

    Args:
        body: Anything; what is no message is refused as soon as that shows.
        kind: What it should be.

    Raises:
        ProtocolError: More than MAX_MESSAGES, more text than MAX_TEXT_BYTES, or no protobuf wire format.
    """
    count = text = 0
    pending: list[tuple[int, int, Any]] = [(0, len(body), kind.DESCRIPTOR)]  # upb's descriptors are no Descriptors
    try:
        while pending:
            position, end, descriptor = pending.pop()
            fields = _fields(descriptor)
            while position < end:
                count += 1
                key, position = _varint(body, position)
                wire = key & 7
                if wire == _BYTES:
                    length, position = _varint(body, position)
                    inner = fields.get(key >> 3)
                    if inner is _TEXT:
                        text += length
                    elif inner is _PACKED:
                        count += length  # numbers: eight bytes parsed for as little as one
                    elif inner is not None:
                        pending.append((position, position + length, inner))
                    position += length
                else:
                    position = _varint(body, position)[1] if wire == _VARINT else position + _FIXED_SIZES[wire]
                if count > MAX_MESSAGES or text > MAX_TEXT_BYTES:
                    raise _excess(count)
            if position != end:
                raise ProtocolError("a field that ends outside its message")
    except (IndexError, KeyError) as error:
        raise ProtocolError("a frame that is no protobuf message") from error
    return count


def _excess(count: int) -> ProtocolError:
    if count > MAX_MESSAGES:
        return ProtocolError(f"a frame of more than {MAX_MESSAGES:,} fields")
    return ProtocolError(f"a frame of more than {MAX_TEXT_BYTES:,} bytes of text; bytes can be longer")


@cache
def _fields(descriptor: Any) -> dict[int, Any]:  # noqa: ANN401  upb's descriptors are no Descriptors
    """What a field with a length holds, by number: a message's descriptor, text or packed numbers; not bytes."""
    fields: dict[int, Any] = {}
    for number, field in descriptor.fields_by_number.items():
        if field.message_type is not None:
            fields[number] = field.message_type
        elif field.type == FieldDescriptor.TYPE_STRING:
            fields[number] = _TEXT
        elif field.type != FieldDescriptor.TYPE_BYTES:
            fields[number] = _PACKED
    return fields


def _varint(body: bytes, position: int) -> tuple[int, int]:
    """A number of at most ten bytes, and where the next field starts."""
    value = body[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    shift = 7
    while shift < 70:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ProtocolError("a number of more than ten bytes")
