"""Checking what a guest passed against a type hint."""

from __future__ import annotations

import collections.abc
import types
import typing
from typing import Any

from maia.sandbox.errors import ProtocolError, ToolError
from maia.sandbox.protocol.types import ImageRef, Namespace, Pixels

__all__ = ["check_argument", "check_hint"]

_SEQUENCES = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping)
_PLAIN = (str, bytes, bool, int, float, type(None), ImageRef, Pixels, Namespace)
_SHOWN = {ImageRef: "an image", Pixels: "an image", Namespace: "an object of the session", type(None): "None"}


class _Mismatch(Exception):  # noqa: N818  control flow within this module
    """A value that a hint does not allow: where, what it must be, what it is."""

    def __init__(self, where: str, expected: str, value: object) -> None:
        super().__init__(f"{where} must be {expected}, not {_shown_type(type(value))}")


def check_argument(value: object, hint: object, where: str) -> Any:  # noqa: ANN401  as the hint says, which no checker sees
    """Return the value as the hint wants it.

    A list stands for any sequence and a tuple for a list; an int for a float; an array of pixels (uint8, or floats in 0
    to 1; two dimensions, or three with 1, 3 or 4 channels) for Pixels.

    Args:
        value: Decoded from a guest.
        hint: One that `check_hint` accepted.
        where: For the message: "text2image: prompts".

    Raises:
        ToolError: The value does not fit.
    """
    try:
        return _check(value, hint, where)
    except _Mismatch as mismatch:
        raise ToolError(str(mismatch)) from None


def check_hint(hint: object, where: str) -> None:
    """Refuse a hint that no value from a guest could satisfy.

    Raises:
        TypeError: The message names the parameter and the hint.
    """
    if hint in (object, Any) or hint in _PLAIN or _is_array(hint):
        return
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal or hint in (list, tuple, dict):
        return
    if origin in (typing.Union, types.UnionType, tuple, *_SEQUENCES, *_MAPPINGS):
        for argument in arguments:
            if argument is not Ellipsis:
                check_hint(argument, where)
        return
    raise TypeError(f"{where}: the type hint {hint!r} fits nothing that a guest can pass")


def _check(value: object, hint: object, where: str) -> object:  # noqa: C901, PLR0911  one branch per kind of hint
    if hint in (object, Any):
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _check_union(value, arguments, where)
    if origin is typing.Literal:
        if type(value) in map(type, arguments) and value in arguments:  # an array is neither equal nor unequal
            return value
        raise _Mismatch(where, " or ".join(map(repr, arguments)), value)
    if hint in (list, tuple) or origin in (tuple, *_SEQUENCES):
        return _check_sequence(value, hint, where)
    if hint is dict or origin in _MAPPINGS:
        if not isinstance(value, dict):
            raise _Mismatch(where, "a dict", value)
        key_hint, item_hint = arguments or (object, object)
        return {_check(k, key_hint, f"{where} key"): _check(v, item_hint, f"{where}[{k!r}]") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _float(value, where)
    if hint is Pixels and _is_array(type(value)):
        return _pixels(value, where)
    if _is_array(hint):
        if _is_array(type(value)):
            return value
    elif isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise _Mismatch(where, _shown(hint), value)


def _float(value: int, where: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ToolError(f"{where}: an integer beyond the range of float") from None


def _check_union(value: object, hints: tuple[object, ...], where: str) -> object:
    exact = [hint for hint in hints if hint is type(value)]
    failures = []
    for hint in (*exact, *hints):
        try:
            return _check(value, hint, where)
        except _Mismatch as mismatch:
            failures.append(mismatch)
    if isinstance(value, (list, tuple)):  # the most telling failure is the one inside the sequence
        inner = [failure for failure in failures if str(failure).startswith(f"{where}[")]
        if inner:
            raise inner[0]
    raise _Mismatch(where, " or ".join(dict.fromkeys(map(_shown, hints))), value)


def _check_sequence(value: object, hint: object, where: str) -> object:
    if not isinstance(value, (list, tuple)):
        raise _Mismatch(where, _shown(hint), value)
    arguments = typing.get_args(hint)
    is_tuple = hint is tuple or typing.get_origin(hint) is tuple
    if is_tuple and arguments and Ellipsis not in arguments:
        if len(value) != len(arguments):
            raise ToolError(f"{where} must have {len(arguments)} items, not {len(value)}")
        return tuple(_check(v, h, f"{where}[{i}]") for i, (v, h) in enumerate(zip(value, arguments, strict=True)))
    item_hint = arguments[0] if arguments else object
    items = [_check(item, item_hint, f"{where}[{index}]") for index, item in enumerate(value)]
    return tuple(items) if is_tuple else items


def _is_array(hint: object) -> bool:
    origin = typing.get_origin(hint) or hint
    return getattr(origin, "__module__", "") == "numpy" and getattr(origin, "__name__", "") == "ndarray"


def _pixels(array: Any, where: str) -> Pixels:  # noqa: ANN401  an ndarray, whose module need not be loaded here
    """Raw pixels of an array that looks like an image."""
    channels = array.shape[2] if array.ndim == 3 else 1
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if array.ndim not in (2, 3) or channels not in modes:
        raise ToolError(f"{where}: an array of shape {array.shape} is no image; (h, w), (h, w, 3) and (h, w, 4) are")
    if array.dtype.kind == "f":
        if not ((array >= 0) & (array <= 1)).all():
            raise ToolError(
                f"{where}: an image of floats must lie in 0 to 1; for 0 to 255 convert it with .astype('uint8')"
            )
        array = (array * 255).round().astype("uint8")
    elif array.dtype.kind == "b":
        array = array.astype("uint8") * 255
    elif array.dtype.str != "|u1":
        raise ToolError(f"{where}: an image must be uint8 or floats in 0 to 1, not {array.dtype}")
    try:
        return Pixels(modes[channels], array.shape[1], array.shape[0], array.tobytes())
    except ProtocolError as error:
        raise ToolError(f"{where}: {error}") from None


def _shown(hint: object) -> str:
    """A hint in words for the author of guest code."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_shown, arguments))
    if hint in (list, tuple) or origin in (tuple, *_SEQUENCES):
        return f"a list of {_shown(arguments[0])}" if arguments else "a list"
    if hint is dict or origin in _MAPPINGS:
        return "a dict"
    if _is_array(hint):
        return "an array"
    return _shown_type(hint)


def _shown_type(hint: object) -> str:
    if isinstance(hint, type):
        return _SHOWN.get(hint, hint.__name__)
    return str(hint)
