"""Python values ↔ `Value` messages: strict, bounded, and never a pickle.

| Python | Value |
| --- | --- |
| None, bool, int, float, str, bytes | as they are; an int beyond 64 bits as its digits |
| list, tuple, dict | recursively; keys are any hashable values |
| NumPy scalar | bool, int or float |
| NumPy array | dtype, shape, bytes; bool, integers and floats only |
| `ImageRef`, `Pixels`, `Namespace` | as they are |

A guest adds conversions of its own (`encode_value(..., convert=...)`) for what it calls images. The bounds hold for one
tree, or for all arguments of one call together.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError
from maia.sandbox.protocol.types import ImageRef, Namespace, Pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "DTYPES",
    "MAX_DEPTH",
    "MAX_ITEMS",
    "MAX_SAME_HASH",
    "MAX_TEXT_BYTES",
    "decode_call",
    "decode_value",
    "encode_call",
    "encode_value",
]

MAX_DEPTH: Final = 24
"""Deepest nesting; three messages a level stay below protobuf's own bound of 100."""

MAX_ITEMS: Final = 20_000
"""Most values in one tree: what a host reads in some ten milliseconds, for it serves other sessions meanwhile."""

MAX_SAME_HASH: Final = 64
"""Most keys of one mapping with one hash. Integers can be made to share one, and a dict compares each with all."""

MAX_TEXT_BYTES: Final = 16_000_000
"""Most bytes of text, as UTF-8; a frame may hold a little more, for names. In memory it may take four times as much."""

MAX_DIGITS: Final = 4000
"""Most digits of an integer; Python itself refuses to parse more than 4,300. Reading them takes the square of their
number, so an integer counts as many values as take that long to read: one of 4,000 digits as a hundred and one."""

DTYPES: Final = frozenset(["|b1", "|u1", "|i1", "<u2", "<u4", "<u8", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"])


class _Budget:
    """Counts the values of one tree or one call."""

    __slots__ = ("_left", "_text")

    def __init__(self) -> None:
        self._left = MAX_ITEMS
        self._text = MAX_TEXT_BYTES

    def take(self, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ProtocolError(f"values nested deeper than {MAX_DEPTH}")
        self._spend(1)

    def take_digits(self, count: int) -> None:
        self._spend((count // 400) ** 2)

    def take_text(self, text: str) -> None:
        self._text -= len(text) if text.isascii() else len(text.encode())
        if self._text < 0:
            raise ProtocolError(f"more than {MAX_TEXT_BYTES:,} bytes of text in one call or result; pass bytes instead")

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ProtocolError(f"more than {MAX_ITEMS:,} values in one call or result; pass an array instead")


def encode_value(value: object, *, convert: Callable[[object], object] | None = None) -> pb.Value:
    """Turn a Python value into a message.

    Args:
        value: See the module's table.
        convert: Called with a value of any other type; returns one that the table names, or the value itself.

    Raises:
        ProtocolError: A type that cannot travel, or bounds exceeded; the message names the type.
    """
    return _encode(value, 0, _Budget(), convert)


def encode_call(
    arguments: Iterable[object],
    keywords: Mapping[str, object],
    *,
    convert: Callable[[object], object] | None = None,
) -> tuple[list[pb.Value], dict[str, pb.Value]]:
    """Turn the arguments of one call into messages, within one tree's bounds.

    Raises:
        ProtocolError: As `encode_value`.
    """
    budget = _Budget()
    encoded = [_encode(value, 0, budget, convert) for value in arguments]
    return encoded, {name: _encode(value, 0, budget, convert) for name, value in keywords.items()}


def _encode(value: object, depth: int, budget: _Budget, convert: Callable[[object], object] | None) -> pb.Value:
    budget.take(depth)
    simple = _encode_leaf(value, budget)
    if simple is not None:
        return simple
    if isinstance(value, list):
        return pb.Value(list=pb.Sequence(items=[_encode(item, depth + 1, budget, convert) for item in value]))
    if isinstance(value, tuple):
        return pb.Value(tuple=pb.Sequence(items=[_encode(item, depth + 1, budget, convert) for item in value]))
    if isinstance(value, dict):
        return pb.Value(
            map=pb.Mapping(
                entries=[
                    pb.MapEntry(
                        key=_encode(key, depth + 1, budget, convert), value=_encode(item, depth + 1, budget, convert)
                    )
                    for key, item in value.items()
                ]
            )
        )
    if convert is not None and (converted := convert(value)) is not value:
        return _encode(converted, depth + 1, budget, convert)
    raise ProtocolError(
        f"a value of type {type(value).__name__} cannot be passed; numbers, text, bytes, lists, tuples, dicts, arrays "
        "and images can"
    )


def _encode_leaf(value: object, budget: _Budget) -> pb.Value | None:  # noqa: PLR0911  one line per type is clearer than a table
    if value is None:
        return pb.Value(null=pb.Null())
    if isinstance(value, bool):
        return pb.Value(boolean=value)
    if isinstance(value, int):
        return _encode_int(int(value), budget)
    if isinstance(value, float):
        return pb.Value(real=value)
    if isinstance(value, str):
        return _encode_text(value, budget)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return pb.Value(data=bytes(value))
    if isinstance(value, ImageRef):
        return pb.Value(image=pb.ImageRef(id=value.id, width=value.width, height=value.height))
    if isinstance(value, Pixels):
        return pb.Value(pixels=pb.Pixels(mode=value.mode, width=value.width, height=value.height, data=value.data))
    if isinstance(value, Namespace):
        return pb.Value(namespace=value.name)
    return _encode_numpy(value)


def _encode_int(value: int, budget: _Budget) -> pb.Value:
    if -(2**63) <= value < 2**63:
        return pb.Value(integer=value)
    if abs(value) >= 10**MAX_DIGITS:
        raise ProtocolError(f"an integer of more than {MAX_DIGITS} digits")
    digits = str(value)
    budget.take_digits(len(digits))
    return pb.Value(big_integer=digits)


def _encode_text(value: str, budget: _Budget) -> pb.Value:
    try:
        budget.take_text(value)
        return pb.Value(text=value)
    except (UnicodeEncodeError, ValueError) as error:  # lone surrogates have no UTF-8 form
        raise ProtocolError("a text with a lone surrogate cannot be passed") from error


def _encode_numpy(value: object) -> pb.Value | None:
    numpy = sys.modules.get("numpy")  # whoever holds an array has imported it
    if numpy is None:
        return None
    if isinstance(value, numpy.generic) and value.dtype.kind in "biuf":
        number = value.item()
        if isinstance(number, numpy.generic):  # what is longer than Python's float stays what it is
            number = float(number)
        return _encode_leaf(number, _Budget())  # at most 64 bits
    if not isinstance(value, numpy.ndarray):
        return None
    array: Any = numpy.ascontiguousarray(value).reshape(value.shape)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.str not in DTYPES:
        raise ProtocolError(f"an array of dtype {value.dtype} cannot be passed; booleans, integers and floats can")
    return pb.Value(array=pb.Array(dtype=array.dtype.str, shape=array.shape, data=array.tobytes()))


def decode_value(message: pb.Value) -> object:
    """Turn a message into a Python value, trusting nothing in it.

    Returns:
        See the module's table; an array is a fresh, writable NumPy array.

    Raises:
        ProtocolError: A value without content, an unknown dtype or mode, data of another length than its shape says, an
            unhashable key, or bounds exceeded.
    """
    return _decode(message, 0, _Budget())


def decode_call(
    arguments: Iterable[pb.Value], keywords: Mapping[str, pb.Value]
) -> tuple[list[object], dict[str, object]]:
    """Turn the arguments of one call into Python values, within one tree's bounds.

    Raises:
        ProtocolError: As `decode_value`.
    """
    budget = _Budget()
    decoded = [_decode(message, 0, budget) for message in arguments]
    return decoded, {name: _decode(message, 0, budget) for name, message in keywords.items()}


def _decode(message: pb.Value, depth: int, budget: _Budget) -> object:  # noqa: C901, PLR0911  one return per kind
    budget.take(depth)
    kind = message.WhichOneof("kind")
    if kind in ("boolean", "integer", "real", "data"):
        return getattr(message, kind)
    if kind == "text":
        text = message.text
        budget.take_text(text)
        return text
    if kind == "null":
        return None
    if kind == "list":
        return [_decode(item, depth + 1, budget) for item in message.list.items]
    if kind == "tuple":
        return tuple(_decode(item, depth + 1, budget) for item in message.tuple.items)
    if kind == "map":
        return _decode_map(message.map, depth, budget)
    if kind == "image":
        return ImageRef(message.image.id, message.image.width, message.image.height)
    if kind == "pixels":
        return Pixels(message.pixels.mode, message.pixels.width, message.pixels.height, message.pixels.data)
    if kind == "array":
        return _decode_array(message.array)
    if kind == "namespace":
        return Namespace(message.namespace)
    if kind == "big_integer":
        return _decode_digits(message.big_integer, budget)
    raise ProtocolError("a value without content")


def _decode_map(message: pb.Mapping, depth: int, budget: _Budget) -> dict[object, object]:
    result: dict[object, object] = {}
    hashes: Counter[int] = Counter()
    for entry in message.entries:
        key = _decode(entry.key, depth + 1, budget)
        try:
            number = hash(key)
        except TypeError as error:
            raise ProtocolError(f"a key of type {type(key).__name__} is not hashable") from error
        hashes[number] += 1
        if hashes[number] > MAX_SAME_HASH:
            raise ProtocolError(f"more than {MAX_SAME_HASH} keys of one mapping with the same hash")
        result[key] = _decode(entry.value, depth + 1, budget)
    return result


def _decode_digits(text: str, budget: _Budget) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS):
        raise ProtocolError(f"a big integer that is not made of at most {MAX_DIGITS:,} digits")
    budget.take_digits(len(digits))
    return int(text)


def _decode_array(message: pb.Array) -> object:
    if message.dtype not in DTYPES:
        raise ProtocolError(f"an array of dtype {message.dtype[:20]!r}; allowed are {', '.join(sorted(DTYPES))}")
    if len(message.shape) > 16:
        raise ProtocolError(f"an array of {len(message.shape)} dimensions; at most 16 are allowed")
    expected = math.prod(message.shape) * int(message.dtype[2:])
    # NumPy multiplies the sides other than zero, also of an array without items.
    if len(message.data) != expected or math.prod(side or 1 for side in message.shape) >= 2**40:
        raise ProtocolError(
            f"{len(message.data)} bytes for an array of shape {tuple(message.shape)} and dtype {message.dtype}; "
            f"it must be {expected}"
        )
    import numpy as np

    return np.frombuffer(message.data, dtype=message.dtype).reshape(tuple(message.shape)).copy()
