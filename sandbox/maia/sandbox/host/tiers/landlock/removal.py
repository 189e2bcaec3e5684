"""Removing what a session wrote, whatever it made of its folder."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

__all__ = ["remove_tree"]


def remove_tree(folder: Path) -> None:
    """Remove a folder with all below it, when nobody writes there any more.

    Directories in directories are moved up before they are looked at, so that no depth exhausts the stack or the
    length of a path, and get back the rights that a session may have taken from them. What cannot be removed stays.
    """
    numbers = itertools.count()
    with contextlib.suppress(OSError):
        while directories := _directories_left(folder):
            for directory in directories:
                for inner in _directories_left(directory):
                    inner.rename(_free_name(folder, numbers))
                directory.rmdir()
        folder.rmdir()


def _directories_left(directory: Path) -> list[Path]:
    """Remove the files of a directory; its directories are made accessible."""
    found = []
    for entry in list(os.scandir(directory)):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            path.chmod(0o700)  # moving it needs the right to write in it
            found.append(path)
        else:
            path.unlink()
    return found


def _free_name(folder: Path, numbers: itertools.count[int]) -> Path:
    return next(path for number in numbers if not os.path.lexists(path := folder / f"-{number}"))
