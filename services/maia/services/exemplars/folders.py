"""Folders that appear complete or not at all, also where several machines write."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["is_abandoned", "new_folder", "process_mark"]

_BUILDING: Final = ".building-"


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder that gets its final name when the block ends without an error.

    If somebody else has finished the same folder meanwhile, theirs stays. What a killed process left half
    built beside it is removed.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(final.parent)
    building = final.parent / f"{_BUILDING}{process_mark()}-{secrets.token_hex(4)}"
    building.mkdir()
    try:
        yield building
        try:
            building.rename(final)
        except OSError:
            if not final.exists():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def process_mark() -> str:
    """Return what names this process in a folder that several machines may share."""
    return f"{os.getpid()}@{os.uname().nodename}"


def is_abandoned(mark: str) -> bool:
    """Return whether the process of a mark has ended; of those on other machines nobody knows it here."""
    pid, _, machine = mark.partition("@")
    return machine in {"", os.uname().nodename} and not (pid.isdecimal() and _alive(int(pid)))


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_BUILDING}*"):
        if is_abandoned(folder.name.removeprefix(_BUILDING).rpartition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
