"""Libraries that not every installation has."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from maia.wire.errors import PreconditionError

__all__ = ["importing", "require_libraries"]


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


@contextmanager
def importing(name: str) -> Iterator[None]:
    """Import a library, or parts that it imports when they are first asked for, so that a broken one is explained.

    Raises:
        PreconditionError: EXTRA_UNUSABLE: it is installed but cannot be imported.
    """
    try:
        yield
    except (ImportError, RuntimeError) as error:  # a torchvision for another torch raises either
        raise PreconditionError(
            f"{name} is installed but cannot be imported; most often torchvision is not the one of this torch: install "
            "both anew, from one index, or uninstall torchvision",
            reason="EXTRA_UNUSABLE",
            metadata={"module": name},
        ) from error
