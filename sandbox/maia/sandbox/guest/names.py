"""What is bound in a session before its first block."""

from __future__ import annotations

import math
import random
import statistics
from importlib import import_module
from typing import TYPE_CHECKING

from maia.sandbox.errors import ToolError
from maia.sandbox.guest.images import from_host
from maia.sandbox.guest.objects import Object
from maia.sandbox.guest.stubs import make_stub

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maia.sandbox.guest.images import Call

__all__ = ["session_names"]


def session_names(
    specs: Iterable[tuple[str, str, str]], constants: Mapping[str, object], call: Call
) -> dict[str, object]:
    """The names of a session: a few modules, ToolError, help, and one object or function for each tool and constant.

    Args:
        specs: Name, signature and documentation of each tool.
        constants: By dotted name.
        call: Takes a tool's name and arguments outside.
    """
    names: dict[str, object] = {
        "np": import_module("numpy"),
        "Image": import_module("PIL.Image"),
        "math": math,
        "random": random,
        "statistics": statistics,
        "ToolError": ToolError,
        "help": show_help,
    }
    for name, signature, documentation in specs:
        _place(names, name, make_stub(name, signature, documentation, call))
    for name, value in constants.items():
        _place(names, name, from_host(value, call))
    return names


def _place(names: dict[str, object], dotted: str, value: object) -> None:
    """Bind `a.b.c`, making the objects `a` and `a.b` where they are missing."""
    first, *rest = dotted.split(".")
    if not rest:
        names[first] = value
        return
    holder = names.get(first)
    if not isinstance(holder, Object):
        holder = names[first] = Object(first)
    for length, part in enumerate(rest[:-1], start=2):
        inner = vars(holder).get(part)
        if not isinstance(inner, Object):
            inner = Object(".".join(dotted.split(".")[:length]))
            setattr(holder, part, inner)
        holder = inner
    setattr(holder, rest[-1], value)


def show_help(thing: object) -> None:
    """Print a function's signature and documentation."""
    pydoc = import_module("pydoc")
    print(pydoc.render_doc(thing, title="%s", renderer=pydoc.plaintext))  # noqa: T201  printing is what it is for
