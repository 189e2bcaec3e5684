"""The variables that the blocks of a session share."""

from __future__ import annotations

import builtins
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from maia.sandbox.guest.policy.builtin_names import make_builtins

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def make_namespace(
    extra: Mapping[str, object], *, restricted: bool, allowed_imports: Collection[str]
) -> dict[str, object]:
    """The globals in which every block of one session runs.

    They belong to a fresh module `__main__`, which takes that place in `sys.modules`: dataclasses, enum and typing look
    a class's module up there. So a process holds one session.

    Args:
        extra: Names bound from the start; a module among them may be used even where it may not be imported.
        restricted: Guarded builtins; otherwise Python's own, and `allowed_imports` has no effect.
        allowed_imports: Top-level packages that blocks may import, `DEFAULT_IMPORTS` as a rule.

    Raises:
        ValueError: A name in `extra` is not an identifier or begins with two underscores.
    """
    for name in extra:
        if not name.isidentifier() or name.startswith("__"):
            raise ValueError(f"cannot bind {name!r}: not an identifier, or reserved by its two leading underscores")
    module = ModuleType("__main__")
    namespace = vars(module)
    if restricted:
        bound = {value.__name__.partition(".")[0] for value in extra.values() if isinstance(value, ModuleType)}
        namespace["__builtins__"] = make_builtins(allowed_imports, bound)
    else:
        namespace["__builtins__"] = builtins
    namespace.update(extra)
    sys.modules["__main__"] = module
    return namespace
