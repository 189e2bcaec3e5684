"""The rules that need a value: attributes by name, string formatting, and the objects that have a stand-in.

A block's `a.b` becomes a call of `READ`, and its `getattr(a, "b")` checks the name and then does the same.
"""

from __future__ import annotations

import io
import operator
import string
import types
from _string import (  # type: ignore[import-not-found]  # typeshed lacks what string.Formatter is made of
    formatter_field_name_split,
    formatter_parser,
)
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from maia.sandbox.guest.policy.names import attribute_refusal
from maia.sandbox.guest.policy.violation import PolicyViolation, running_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from maia.sandbox.guest.policy.imports import Modules

READ = "read attribute"
"""The name in compiled blocks of the guard behind `a.b`; no source text can name or shadow it, having a space."""

WRITE = "write attribute"
"""The name of the guard around an object one of whose attributes with two underscores is assigned."""

_NO_DEFAULT = object()


def check_attribute_name(name: object) -> None:
    """Refuse a name given as a value where the syntax would refuse it.

    Raises:
        TypeError: It is not a plain string (a subclass could change between check and use).
        PolicyViolation: It is refused on every object.
    """
    if type(name) is not str:
        raise TypeError("attribute name must be string, not " + repr(type(name).__name__))
    refusal = attribute_refusal(name)
    if refusal is not None:
        raise PolicyViolation(refusal, running_line())


def make_read(modules: Modules) -> Callable[[Any, str], Any]:
    """What stands behind every `a.b` of a session's blocks; the text has been checked for the name."""

    def read(target: Any, name: str, /) -> Any:  # noqa: ANN401  any object has attributes
        if isinstance(target, types.ModuleType):
            return modules.attribute(target, name)
        value = getattr(target, name)
        return _checked_format(value) if name in _FORMATS else value

    return read


def make_getattr(read: Callable[[Any, str], Any]) -> Callable[..., Any]:
    """The session's `getattr(object, name[, default])`."""

    def guarded_getattr(target: object, name: str, default: object = _NO_DEFAULT, /) -> object:
        check_attribute_name(name)
        try:
            return read(target, name)
        except AttributeError:
            if default is _NO_DEFAULT:
                raise
            return default

    return guarded_getattr


def guarded_setattr(target: object, name: str, value: object, /) -> None:
    """`setattr` with the rules of the syntax."""
    check_attribute_name(name)
    setattr(writable(target) if name.startswith("__") else target, name, value)


def guarded_delattr(target: object, name: str, /) -> None:
    """`delattr` with the rules of the syntax."""
    check_attribute_name(name)
    delattr(writable(target) if name.startswith("__") else target, name)


def writable(target: object) -> object:
    """The object itself, unless it is a module: its `__name__` decides whether blocks may reach it."""
    if isinstance(target, types.ModuleType):
        raise PolicyViolation(
            f"what the module {target.__name__} says of itself is fixed; set attributes of your own objects",
            running_line(),
        )
    return target


def _check_format(template: str) -> None:
    """Refuse a format string that reads an attribute which the syntax would refuse."""
    for _, field, spec, _ in formatter_parser(template):
        if field:
            _, steps = formatter_field_name_split(field)
            for is_attribute, name in steps:
                if is_attribute:
                    check_attribute_name(name)
        if spec:
            _check_format(spec)


def _format(template: str, /, *args: object, **kwargs: object) -> str:
    """`str.format` after a look at the fields."""
    _check_format(template)
    return str.format(template, *args, **kwargs)


def _format_map(template: str, mapping: Mapping[str, object], /) -> str:
    """`str.format_map` after a look at the fields."""
    _check_format(template)
    return str.format_map(template, mapping)


_FORMATS: dict[str, Callable[..., str]] = {"format": _format, "format_map": _format_map}


def _checked_format(value: object) -> object:
    """The checked form of `str.format` or `str.format_map`, bound to a string or not; anything else as it is."""
    if value is str.format:
        return _format
    if value is str.format_map:
        return _format_map
    if isinstance(value, types.BuiltinMethodType) and isinstance(value.__self__, str):
        checked = _FORMATS.get(value.__name__)
        return value if checked is None else partial(checked, value.__self__)
    return value


class _Formatter(string.Formatter):
    """`string.Formatter` with the rules of the syntax for the attributes that it reads."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:  # noqa: ANN401  the signature of the base
        _, steps = formatter_field_name_split(field_name)
        for is_attribute, name in steps:
            if is_attribute:
                check_attribute_name(name)
        return super().get_field(field_name, args, kwargs)


def refused(message: str) -> Callable[..., Any]:
    """A stand-in for a function that blocks may not call: it says so, and what to write instead."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PolicyViolation(message, running_line())

    return refuse


OPEN_REFUSED = refused(
    "open() is not available: keep data in variables, and use io.BytesIO or io.StringIO where a file is wanted"
)


def make_replacements(read: Callable[[Any, str], Any]) -> dict[int, object]:
    """By `id`, the library objects that would read attributes, files or code past the guards, and their stand-ins."""

    def attrgetter(*names: str) -> Callable[[object], object]:
        paths = [name.split(".") for name in names]
        for path in paths:
            for name in path:
                check_attribute_name(name)
        if len(paths) == 1:
            return lambda target: reduce(read, paths[0], target)
        return lambda target: tuple(reduce(read, path, target) for path in paths)

    def methodcaller(name: str, /, *args: object, **kwargs: object) -> Callable[[object], object]:
        check_attribute_name(name)
        return lambda target: read(target, name)(*args, **kwargs)

    return {
        id(string.Formatter): _Formatter,
        id(operator.attrgetter): attrgetter,
        id(operator.methodcaller): methodcaller,
        id(io.open): OPEN_REFUSED,
        id(io.open_code): OPEN_REFUSED,
        id(io.FileIO): OPEN_REFUSED,
        id(types.CodeType): refused("code objects cannot be made here: write the code in the block"),
    }
