"""Requests of any message, as nobody should send them: by its descriptor, so without knowing the message."""

from __future__ import annotations

import io
import math
import struct
import zlib
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from PIL import Image

_DEEPEST: Final = 4
_MANY: Final = 1100
"""More than any request may have of anything, and little enough to be sent often."""


def _picture(form: str = "PNG", size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (220, 30, 30)).save(buffer, form)
    return buffer.getvalue()


def _claiming(width: int, height: int) -> bytes:
    """A PNG whose header says that it is of this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _picture()[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + _picture()[33:]


PICTURE: Final = _picture()
_TEXTS: Final = st.sampled_from(
    [
        *("", " ", "\0", "\n" * 50, "🙂" * 99, "%s%n{0}", "../../etc/passwd", "a" * 25_000, "\u202e\ufeff", "nobody"),
        *("scene-neurons", "scenes-v1", "mono", "and", "image/png", "image/jpeg", "image/gif", "RGB", "<f4", "|O"),
        *("a red circle", "remove the circle", "tools.echo", "(value: int) -> int", "print(1)", "while True: pass"),
    ]
)
_BYTES: Final = st.sampled_from(
    [
        *(PICTURE, PICTURE[:-9], PICTURE[:20], _picture("JPEG"), _picture("WEBP"), _picture("GIF"), _picture("BMP")),
        *(_claiming(0, 0), _claiming(2**31 - 1, 2**31 - 1), _claiming(8_000, 8_001), _claiming(1, 2**31 - 1)),
        *(b"", b"\0" * 128, b"\xff" * 128, b"\x89PNG\r\n\x1a\n"),
    ]
)
_REALS: Final = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 9e37, 1.7e308, -1.7e308, math.nan, math.inf, -math.inf]
)


def _integers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.sampled_from([n for n in (0, 1, 2, 32, -1, 255, 2**16, 2**31 - 1, 2**32, low, high) if low <= n <= high])


_SCALARS: Final[dict[int, st.SearchStrategy[Any]]] = {
    FieldDescriptor.CPPTYPE_STRING: _TEXTS | st.text(st.characters(codec="utf-8"), max_size=20),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: _REALS,
    FieldDescriptor.CPPTYPE_FLOAT: _REALS.filter(lambda number: not 1e38 < abs(number) < math.inf),
    FieldDescriptor.CPPTYPE_INT32: _integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: _integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: _integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: _integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: st.sampled_from([0, 1, 2, 99, -1, 2**31 - 1]),
}


_PIECES: Final = st.sampled_from([b"\0", b"\xff", b"\x80", b"\xff" * 9 + b"\1", b"\x0b", b"\n\xff\x7f", b"\xc3("])


@st.composite
def messages(draw: st.DrawFn, of: Descriptor, depth: int = 0) -> Message:
    """A message whose fields hold what is usual, what is extreme, or nothing."""
    message = GetMessageClass(of)()
    for field in of.fields:
        if draw(st.integers(0, 5)) == 0:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(draw, message, field, depth)
        elif field.is_repeated:
            drawn = [draw(_one(field, depth)) for _ in range(draw(st.integers(0, 3)))]
            many = _MANY if drawn and depth == 0 and draw(st.integers(0, 11)) == 0 else 1
            getattr(message, field.name).extend(drawn * many)
        elif field.message_type is not None:
            if depth < _DEEPEST:
                getattr(message, field.name).CopyFrom(draw(messages(field.message_type, depth + 1)))
        else:
            setattr(message, field.name, draw(_one(field, depth)))
    return message


def _fill_map(draw: st.DrawFn, message: Message, field: FieldDescriptor, depth: int) -> None:
    assert field.message_type is not None
    parts = field.message_type.fields_by_name
    entries = getattr(message, field.name)
    for _ in range(draw(st.integers(0, 2)) if depth < _DEEPEST else 0):
        key, content = draw(_one(parts["key"], depth)), draw(_one(parts["value"], depth))
        if parts["value"].message_type is not None:
            entries[key].CopyFrom(content)
        else:
            entries[key] = content


def _one(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is None:
        return _BYTES if field.type == FieldDescriptor.TYPE_BYTES else _SCALARS[field.cpp_type]
    if depth >= _DEEPEST:
        return st.just(GetMessageClass(field.message_type)())
    return messages(field.message_type, depth + 1)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """These bytes, cut, lengthened or overwritten in a few places."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        piece = draw(_PIECES)
        data = data[:at] + piece + data[draw(st.sampled_from([at, at + len(piece), len(data)])) :]
    return data


@st.composite
def requests(draw: st.DrawFn, of: Descriptor) -> bytes:
    """The bytes of a request: nonsense, a hostile message, or one that was damaged on its way."""
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return draw(st.binary(max_size=200))
    if kind == 1:  # groups or messages inside each other, deeper than any reader goes
        return draw(st.sampled_from([b"\x0b", b"\x0a\x7f", b"\x12\x7f"])) * draw(st.sampled_from([99, 1_000, 20_000]))
    data = draw(messages(of)).SerializeToString()
    return draw(damaged(data)) if kind < 4 else data
