"""Which modules a block may import and reach."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from maia.sandbox.guest.policy.violation import ImportRefused, PolicyViolation, running_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_DEFAULT = """
    numpy PIL matplotlib mpl_toolkits scipy
    math cmath random statistics decimal fractions numbers
    collections itertools functools operator heapq bisect array copy types enum dataclasses typing abc contextlib
    json csv re string textwrap unicodedata difflib html struct base64 binascii hashlib zlib uuid io
    datetime time calendar zoneinfo colorsys pprint traceback warnings graphlib
"""

DEFAULT_IMPORTS: frozenset[str] = frozenset(_DEFAULT.split())
"""Top-level packages that compute, format or draw. Not among them: what exists to reach files, processes, threads, the
network, native libraries or the interpreter itself (os, sys, ctypes, inspect, gc, ...), and what unpickles."""


class Modules:
    """The modules that one session's blocks may reach, and the `__import__` that its blocks see."""

    __slots__ = ("_allowed", "_passed", "_reachable", "_replacements")

    def __init__(
        self, allowed: Collection[str], *, bound: Collection[str] = (), replacements: Mapping[int, object]
    ) -> None:
        """Fix the lists.

        Args:
            allowed: Top-level packages that may be imported.
            bound: Top-level packages that may be used because the session binds a module of theirs.
            replacements: By `id`, objects that blocks get another object for; the originals must outlive this.
        """
        self._allowed = frozenset(allowed) | {"__future__"}
        self._reachable = self._allowed | frozenset(bound) | {"__main__"}
        self._replacements = replacements
        self._passed: set[ModuleType] = set()

    def check(self, module: ModuleType) -> None:
        """Refuse a module outside the list, however the block came by it.

        Raises:
            PolicyViolation: Its top-level package is not on the list.
        """
        if module in self._passed:
            return
        name = module.__name__
        if name.partition(".")[0] not in self._reachable:
            raise PolicyViolation(f'the module "{name}" is out of reach; {self._list()}', running_line())
        self._passed.add(module)

    def attribute(self, module: ModuleType, name: str) -> object:
        """Read a module's attribute: no private names, no modules outside the list, replacements applied."""
        self.check(module)
        if name.startswith("_") and not name.endswith("__"):
            raise PolicyViolation(
                f'"{name}" is private to the module {module.__name__}; use its public names', running_line()
            )
        value: object = getattr(module, name)
        if isinstance(value, ModuleType):
            self.check(value)
        return self._replacements.get(id(value), value)

    def importer(self, real_import: Callable[..., Any]) -> Callable[..., object]:
        """The session's `__import__`."""

        def guarded_import(
            name: str,
            globals: Mapping[str, object] | None = None,  # noqa: A002  the interpreter's own signature
            locals: Mapping[str, object] | None = None,  # noqa: A002  the interpreter's own signature
            fromlist: Sequence[str] | None = (),
            level: int = 0,
        ) -> object:
            # C code (NumPy's, datetime's strptime) imports through the running frame's __import__ and passes an empty
            # list, ignoring the result; import statements pass None or a tuple. What a library imports is its affair.
            if isinstance(fromlist, list):
                return real_import(name, globals, locals, fromlist, level)
            if level:
                raise ImportRefused("a block is not in a package; import by the full name", running_line())
            top, *rest = name.split(".")
            if top not in self._allowed:
                raise ImportRefused(f'the module "{name}" cannot be imported; {self._list()}', running_line())
            if any(part.startswith("_") for part in rest):
                raise ImportRefused(f'"{name}" is private to {top}; use its public names', running_line())
            module = real_import(name, globals, locals, fromlist, level)
            return self._selection(module, fromlist) if fromlist else module

        return guarded_import

    def _selection(self, module: ModuleType, names: Sequence[str]) -> object:
        """The object from which the interpreter takes the names of `from module import names`."""
        if tuple(names) == ("*",):
            return SimpleNamespace(**self._public(module))
        taken = {name: self.attribute(module, name) for name in names if hasattr(module, name)}
        if all(value is getattr(module, name) for name, value in taken.items()):
            return module  # which also words the error for a name that it lacks
        return SimpleNamespace(**taken)

    def _public(self, module: ModuleType) -> dict[str, object]:
        """What `from module import *` binds: public names, without the modules among them."""
        names = getattr(module, "__all__", None) or vars(module)
        values = {name: getattr(module, name) for name in names if not name.startswith("_")}
        return {
            name: self._replacements.get(id(value), value)
            for name, value in values.items()
            if not isinstance(value, ModuleType)
        }

    def _list(self) -> str:
        return "available are: " + ", ".join(sorted(self._allowed - {"__future__"}, key=str.lower))
