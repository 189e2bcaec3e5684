"""Libraries that not every installation has."""

from __future__ import annotations

import importlib.util

from maia.wire.errors import PreconditionError

__all__ = ["require_libraries"]


def require_libraries(*names: str, extra: str) -> None:
    """Refuse to go on without libraries.

    Raises:
        PreconditionError: EXTRA_MISSING, with the command that installs them.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise PreconditionError(
            f"this backend needs {', '.join(missing)}; install it by: pip install '{extra}'",
            reason="EXTRA_MISSING",
            metadata={"extra": extra},
        )
