"""Writes files so that a reader sees the old content or the new, never half of one."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Final

from maia.orchestrator.errors import refused

_STALE_S: Final = 3600.0
"""Age at which half a file is no other process's work any more: each takes moments."""


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 file beside its name and rename it; characters that UTF-8 cannot hold become "?".

    Raises:
        JournalError: The disk refuses.
    """
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode(errors="replace"))
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise refused(path, error) from error
    _remove_stale(path)


def _remove_stale(path: Path) -> None:
    """Remove what processes that were killed have left of this file."""
    with suppress(OSError):  # another process removes them, too; or they are not ours to remove
        for part in path.parent.glob(f".{escape(path.name)}.*.part"):
            if time.time() - part.stat().st_mtime > _STALE_S:
                part.unlink(missing_ok=True)
