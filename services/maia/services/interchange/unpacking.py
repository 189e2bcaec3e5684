"""Exemplar files out of a zip that may come from anyone.

Only files with the names of exemplar files are taken, below one folder, with as many bytes as the zip's directory says
and no more than the disk has room for.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from maia.services.interchange.downloading import require_room
from maia.services.interchange.failures import shown, writing
from maia.services.interchange.layer_files import ACTIVATIONS, IDS, IMAGES, MASKS, THRESHOLDS, UNITS
from maia.services.interchange.progress import OnStep, Step, unheard
from maia.wire.errors import PreconditionError

__all__ = ["unpack"]

_TAKEN: Final = frozenset({ACTIVATIONS, IDS, IMAGES, MASKS, THRESHOLDS, UNITS})
_PIECE: Final = 1 << 20
_ENCRYPTED: Final = 1


def unpack(archive: Path, folder: Path, *, doing: str, on_step: OnStep = unheard) -> int:
    """Unpack the exemplar files of a zip.

    Args:
        archive: The zip.
        folder: Is there, and empty.
        doing: What `on_step` is told.
        on_step: Is told of the bytes.

    Returns:
        How many files there were.

    Raises:
        PreconditionError: ARCHIVE_DAMAGED, ARCHIVE_UNSAFE, DISK_FULL or FOLDER_UNWRITABLE.
    """
    with _opened(archive) as opened:
        members = [(one, _inside(archive, one)) for one in opened.infolist()]
        taken = {path: one for one, path in members if path.name in _TAKEN and not one.is_dir()}
        if len(taken) != sum(path.name in _TAKEN and not one.is_dir() for one, path in members):
            raise _unsafe(archive, "has two files of one name")
        total = sum(one.file_size for one in taken.values())
        require_room(folder, total)
        done = 0
        for path, member in taken.items():
            target = folder.joinpath(*path.parts)
            with writing(folder):
                target.parent.mkdir(parents=True, exist_ok=True)
            for piece in _pieces(opened, archive, member, target):
                done += piece
                on_step(Step(doing, done, total, "bytes"))
    return len(taken)


def _pieces(opened: zipfile.ZipFile, archive: Path, member: zipfile.ZipInfo, target: Path) -> Iterator[int]:
    """Write a file, and yield the sizes of what was written."""
    left = member.file_size
    with opened.open(member) as packed:
        with writing(target.parent):
            file = target.open("xb")
        with file:
            while piece := packed.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise _unsafe(archive, f"has more in {shown(member.filename)} than it says")
                with writing(target.parent):
                    file.write(piece)
                yield len(piece)
    if left:
        raise zipfile.BadZipFile(f"{member.filename} ends too early")


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; whatever is wrong with what is in it becomes ARCHIVE_DAMAGED."""
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except PreconditionError:
        raise
    except Exception as error:  # the decompressors raise whatever malformed bytes make them raise
        raise PreconditionError(
            f"{shown(archive)} is no whole zip file: {shown(str(error) or type(error).__name__)}; fetch it again",
            reason="ARCHIVE_DAMAGED",
            metadata={"path": shown(archive)},
        ) from error


def _inside(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Return a member's path, which stays below the folder.

    Hidden folders, among them what macOS adds, are left out by the caller's list of names or by the search for layers.
    """
    name = member.filename
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise _unsafe(archive, f"has a file outside its folder: {shown(name)!r:.200}")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise _unsafe(archive, f"has a link: {shown(name)!r:.200}")
    if member.flag_bits & _ENCRYPTED:
        raise _unsafe(archive, f"is encrypted: {shown(name)!r:.200}")
    return path


def _unsafe(archive: Path, why: str) -> PreconditionError:
    return PreconditionError(
        f"{shown(archive)} {why}; nothing of it was taken: remove it",
        reason="ARCHIVE_UNSAFE",
        metadata={"path": shown(archive)},
    )
