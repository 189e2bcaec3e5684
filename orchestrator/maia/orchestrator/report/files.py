"""Writes files so that a reader sees the old content or the new, never half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from maia.orchestrator.errors import refused


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
