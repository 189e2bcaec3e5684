"""The built-in names of a restricted session."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING

from maia.sandbox.guest.policy.guards import (
    OPEN_REFUSED,
    READ,
    WRITE,
    guarded_delattr,
    guarded_setattr,
    make_getattr,
    make_read,
    make_replacements,
    refused,
    writable,
)
from maia.sandbox.guest.policy.imports import Modules

if TYPE_CHECKING:
    from collections.abc import Collection

_ORDINARY = """
    abs all any ascii bin bool bytearray bytes callable chr classmethod complex dict dir divmod enumerate filter float
    format frozenset hasattr hash hex id int isinstance issubclass iter len list map max memoryview min next object oct
    ord pow print property range repr reversed round set slice sorted staticmethod str sum super tuple type zip
    Ellipsis NotImplemented __build_class__
"""
# `type` stays the real class: isinstance(x, type) needs it, and a class made by calling it can do no more than one made
# by a class statement. `hasattr` answers yes or no whatever the name.

_NO_NAMESPACE = "is not available: use variables by name, and keep values under computed names in a dict"
_END = "is not available: a block ends where its text ends; leave a function with return, or raise an exception"

_REFUSED = {
    "open": OPEN_REFUSED,
    "eval": refused("eval() is not available: write the expression itself, or parse data with json.loads()"),
    "exec": refused("exec() is not available: write the statements themselves; each block runs in the same variables"),
    "compile": refused("compile() is not available: write the code in the block; re.compile() is there for patterns"),
    "input": refused("input() is not available: nobody is there to answer; assign the value in the code"),
    "breakpoint": refused("breakpoint() is not available: print() what you want to see"),
    "help": refused("help() is not available: print(thing.__doc__) instead"),
    "globals": refused(f"globals() {_NO_NAMESPACE}"),
    "locals": refused(f"locals() {_NO_NAMESPACE}"),
    "vars": refused("vars() is not available: use dir() for names and getattr() for values, or dataclasses.asdict()"),
    "exit": refused(f"exit() {_END}"),
    "quit": refused(f"quit() {_END}"),
}


def make_builtins(allowed_imports: Collection[str], bound_modules: Collection[str]) -> dict[str, object]:
    """The `__builtins__` of one session: the ordinary ones, the exceptions, the guards and the refusals.

    Args:
        allowed_imports: Top-level packages that blocks may import.
        bound_modules: Top-level packages of the modules that the session's namespace already holds.
    """
    replacements: dict[int, object] = {}
    modules = Modules(allowed_imports, bound=bound_modules, replacements=replacements)
    read = make_read(modules)
    replacements.update(make_replacements(read))
    exceptions = {
        name: value
        for name, value in vars(builtins).items()
        if isinstance(value, type) and issubclass(value, BaseException)
    }
    return {
        **{name: getattr(builtins, name) for name in _ORDINARY.split()},
        **exceptions,
        **_REFUSED,
        "__import__": modules.importer(builtins.__import__),
        "getattr": make_getattr(read),
        "setattr": guarded_setattr,
        "delattr": guarded_delattr,
        READ: read,
        WRITE: writable,
    }
