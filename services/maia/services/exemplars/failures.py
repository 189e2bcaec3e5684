"""What stands in the way of reading exemplars, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maia.wire.errors import InternalError, NotFoundError

__all__ = ["exemplars_missing", "reporting_damage"]


@contextmanager
def reporting_damage(path: Path, folder: Path, subject: str = "") -> Iterator[None]:
    """Say what to do when a file of the store is not what was written; Pydantic's errors are ValueErrors too.

    Args:
        path: The file.
        folder: Of the set.
        subject: Whose; "" if that stood in the file.
    """
    try:
        yield
    except (OSError, ValueError, EOFError, IndexError) as error:
        command = f": maia exemplars build --model {subject:.100}" if subject else ""
        raise InternalError(
            f"{path} is damaged or missing; remove {folder} and build the exemplars again{command}",
            reason="EXEMPLARS_DAMAGED",
            metadata={"path": str(path)},
        ) from error


def exemplars_missing(subject: str, what: str) -> NotFoundError:
    """Return EXEMPLARS_MISSING, metadata "subject"; `what` says which are not there."""
    return NotFoundError(
        f"{what}; build them: maia exemplars build --model {subject:.100}",
        reason="EXEMPLARS_MISSING",
        metadata={"subject": subject},
    )
