"""Folders that a command will write into: looked at before it starts anything, not after an hour."""

from __future__ import annotations

import os
from pathlib import Path

from maia.cli.errors import CommandError


def nearest(folder: Path) -> Path:
    """Return the folder, or where it is not there yet the one that it would be made in."""
    # Not Path.exists, which raises for what lies below a folder that this user may not enter.
    return next(each for each in (folder, *folder.parents) if os.access(each, os.F_OK))


def check_writable(folder: Path, flag: str) -> None:
    """Refuse a folder that cannot be made or written.

    Args:
        folder: It need not exist yet, and is not made here.
        flag: What names another one.

    Raises:
        CommandError: FOLDER_UNWRITABLE.
    """
    there = nearest(folder)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return
    why = "may not be written" if there.is_dir() else "is no folder"
    raise CommandError(f"cannot write into {folder}: {there} {why}; use another {flag}", reason="FOLDER_UNWRITABLE")
