"""The files of a folder, to any depth, in an order that depends on their names alone."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from maia.services.building.datasets.failures import looking_into
from maia.services.building.datasets.files import path_in, status
from maia.services.building.datasets.names import PassedOver, extension
from maia.services.building.datasets.packed import UNREADABLE, PictureList
from maia.services.building.datasets.progress import Progress, unheard

_TOLD_EVERY: Final = 1024  # files


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds.

    Attributes:
        files: By their paths in the folder, with "/" between names.
        passed_over: All others, as far as the listing went.
    """

    files: PictureList
    passed_over: PassedOver


class _Kind(enum.Enum):
    FILE = enum.auto()
    FOLDER = enum.auto()
    OTHER = enum.auto()


def list_files(
    root: Path, extensions: frozenset[bytes], *, limit: int | None = None, progress: Progress = unheard
) -> Listing:
    """List the files of a folder that have one of these extensions, sorted by the bytes of their paths in it.

    What is hidden is passed over. A link to a file counts as the file, wherever it leads. A link to a folder counts as
    the folder, unless that holds the link: such a loop is passed over. A file that cannot be looked at, as behind a
    broken link, is listed, and its size is UNREADABLE.

    Args:
        root: The folder.
        extensions: In lower case, with their dots.
        limit: List only the first so many.
        progress: Is told "listing".

    Raises:
        PreconditionError: DATASET_UNREADABLE: a folder in it cannot be listed.
    """
    top = os.fsencode(root)
    files, passed_over = PictureList(), PassedOver()
    waiting = [b""]  # paths in the folder, the next one last; those of folders are empty or end with "/"
    while waiting and (limit is None or len(files) < limit):
        path = waiting.pop()
        if not path or path.endswith(b"/"):
            # With the "/" at its end, a folder sorts among its neighbours as the paths of its files will.
            waiting += sorted(_entries(top, path, extensions, passed_over), reverse=True)
            continue
        files.append(path, _size(path_in(top, path)))
        if len(files) % _TOLD_EVERY == 0:
            progress("listing", len(files), 0)
    progress("listing", len(files), len(files))
    return Listing(files, passed_over)


def _entries(top: bytes, folder: bytes, extensions: frozenset[bytes], passed_over: PassedOver) -> Iterator[bytes]:
    path = path_in(top, folder)
    with looking_into(path), os.scandir(path) as entries:
        for entry in entries:
            kind = _kind(entry)
            if entry.name.startswith(b"."):
                passed_over.add_kind("hidden")
            elif kind is _Kind.FOLDER:
                if entry.is_symlink() and _leads_back(top, folder, entry):
                    passed_over.add_kind("links to a folder around them")
                else:
                    yield folder + entry.name + b"/"
            elif kind is _Kind.OTHER:
                passed_over.add_kind("pipes, sockets or devices")
            elif extension(entry.name) in extensions:
                yield folder + entry.name
            else:
                passed_over.add(entry.name)


def _kind(entry: os.DirEntry[bytes]) -> _Kind:
    """Of what a link leads to. What cannot be looked at counts as a file: it keeps its slot, and reading says why."""
    try:
        if entry.is_dir():
            return _Kind.FOLDER
        if not entry.is_file():
            entry.stat()
            return _Kind.OTHER
    except OSError:
        pass
    return _Kind.FILE


def _leads_back(top: bytes, folder: bytes, link: os.DirEntry[bytes]) -> bool:
    """Whether a link leads to a folder that the link lies in, also by way of other links."""
    target = link.stat()
    inside = [top, *(path_in(top, folder[:end]) for end, letter in enumerate(folder) if letter == ord("/"))]
    real = os.path.realpath(top)
    around = [real[:end] or b"/" for end, letter in enumerate(real) if letter == ord("/")]
    return any(os.path.samestat(target, status(path)) for path in (*inside, *around))


def _size(path: bytes) -> int:
    try:
        return status(path).st_size
    except OSError:
        return UNREADABLE
