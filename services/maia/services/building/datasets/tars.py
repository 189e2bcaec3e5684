"""Pictures in tar archives, as WebDataset lays them out: read in place, by where they lie."""

from __future__ import annotations

import os
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from maia.services.building.datasets.failures import (
    dataset_changed,
    dataset_damaged,
    dataset_empty,
    dataset_unsupported,
    looking_into,
    path_shown,
    refuse_too_large,
)
from maia.services.building.datasets.files import open_regular, read_at
from maia.services.building.datasets.listed import ListedDataset
from maia.services.building.datasets.names import PICTURES, PassedOver, extension, is_hidden, shown
from maia.services.building.datasets.packed import PictureList
from maia.services.building.datasets.progress import Progress, unheard
from maia.services.building.datasets.tar_members import Damage, Member, compression, members

_OPEN: Final = 64  # archives that stay open; there may be thousands
_TOLD_EVERY: Final = 1024  # pictures


class TarDataset(ListedDataset):
    """The pictures of one or more archives, archive by archive and in each in its order; see `dataset.Dataset`.

    An archive that is cut off or garbled somewhere gives what is whole before that place, and a note says so.
    """

    def __init__(
        self,
        archives: Sequence[tuple[bytes, Path]],
        name: str,
        *,
        limit: int | None = None,
        progress: Progress = unheard,
    ) -> None:
        """List archives.

        Args:
            archives: What each is called, and where it is; in order.
            name: Of the dataset.
            limit: Take only the first so many pictures.
            progress: Is told "listing" and "comparing".

        Raises:
            InvalidRequestError: DATASET_UNSUPPORTED: an archive is compressed.
            PreconditionError: DATASET_UNREADABLE, DATASET_EMPTY; DATASET_DAMAGED: the only archive is none, or its
                first member is not whole.
        """
        self._archives = archives
        self._limit = limit
        self._progress = progress
        self._listed = PictureList()
        self._offsets = array("q")
        self._firsts: list[int] = []  # slot of each archive's first picture, for those archives that were looked at
        self._lengths: list[int] = []  # of the archives, in bytes
        self._passed_over = PassedOver()
        self._damage: list[str] = []
        for _, path in archives:
            if self._full():
                break
            self._list(path)
        progress("listing", len(self._listed), len(self._listed))
        if not len(self._listed):
            where = archives[0][1] if len(archives) == 1 else archives[0][1].parent
            looked_for = f"files with the extensions {', '.join(sorted(map(bytes.decode, PICTURES)))} in .tar archives"
            raise dataset_empty(where, looked_for, self._passed_over, self._damage)
        super().__init__(name, self._listed, progress)
        self._opened = lru_cache(maxsize=_OPEN)(_Archive)

    def read(self, slot: int) -> bytes:
        """Return a member's bytes.

        Raises:
            OSError: The archive cannot be read.
            PreconditionError: DATASET_CHANGED: the archive has another size by now. PICTURE_TOO_LARGE.
        """
        size = self._listed.size(slot)
        refuse_too_large(size)
        return b"".join(self.parts(slot, [range(size)]))

    def title(self, slot: int) -> str:
        """Return a member's name, after that of its archive if there are several."""
        archive, _ = self._archives[self._archive(slot)]
        name = self._listed.names[slot]
        return shown(name if len(self._archives) == 1 else archive + b"/" + name)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was passed over, and which archives are not whole."""
        return (*self._damage, *self._passed_over.notes())

    def parts(self, slot: int, spans: Sequence[range]) -> Iterator[bytes]:
        """Yield parts of a member; raises as `read`."""
        number = self._archive(slot)
        archive = self._opened(os.fsencode(self._archives[number][1]), self._lengths[number])
        for span in spans:
            yield read_at(archive.descriptor, self._offsets[slot] + span.start, len(span))

    def _archive(self, slot: int) -> int:
        return bisect_right(self._firsts, slot) - 1

    def _full(self) -> bool:
        return self._limit is not None and len(self._listed) >= self._limit

    def _list(self, path: Path) -> None:
        self._firsts.append(len(self._listed))
        with looking_into(path), path.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            self._lengths.append(length)
            if packed := compression(file):
                kind, program = packed
                raise dataset_unsupported(
                    path,
                    f"is compressed with {kind}, and its pictures cannot be read one by one; unpack it once: {program} "
                    f"< {path_shown(path)} > new.tar",
                )
            try:
                for member in members(file, length):
                    self._add(member)
                    if self._full():
                        return
            except Damage as damage:
                if not damage.position and len(self._archives) == 1:
                    raise dataset_damaged(path, "it is no tar archive, or not whole from its first file on") from damage
                self._damage.append(
                    f"{path_shown(path)} is whole up to byte {damage.position} of {length}: {damage.why}; what may "
                    "follow is left out"
                )

    def _add(self, member: Member) -> None:
        if is_hidden(member.name):
            self._passed_over.add_kind("hidden")
        elif extension(member.name) not in PICTURES:
            self._passed_over.add(member.name)
        elif not member.is_file:
            self._passed_over.add_kind("links, or files with holes")
        else:
            self._listed.append(member.name, member.size)
            self._offsets.append(member.offset)
            if len(self._listed) % _TOLD_EVERY == 0:
                self._progress("listing", len(self._listed), 0)


class _Archive:
    """An open archive. It is closed when nobody holds it: a thread may still read what the cache has let go."""

    __slots__ = ("__weakref__", "descriptor")

    def __init__(self, path: bytes, length: int) -> None:
        self.descriptor = open_regular(path)
        weakref.finalize(self, os.close, self.descriptor)
        if os.fstat(self.descriptor).st_size != length:
            raise dataset_changed(path)
