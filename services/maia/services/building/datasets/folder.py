"""A folder of pictures, also one with a subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maia.services.building.datasets.duplicates import DuplicateSearch
from maia.services.building.datasets.failures import dataset_changed
from maia.services.building.datasets.files import path_in, read_parts, read_whole
from maia.services.building.datasets.listing import Listing
from maia.services.building.datasets.names import shown
from maia.services.building.datasets.packed import UNREADABLE
from maia.services.building.datasets.progress import Progress, unheard


class FolderDataset:
    """The pictures of a folder, in the order of `listing.list_files`; see `dataset.Dataset`."""

    def __init__(self, folder: Path, listing: Listing, progress: Progress = unheard) -> None:
        self._root = os.fsencode(folder.absolute())
        self._name = shown(os.fsencode(folder.resolve().name)) or "/"
        self._files = listing.files
        self._passed_over = listing.passed_over
        self._revision = listing.files.revision()
        self._duplicates = DuplicateSearch(self, progress)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self._name

    @property
    def revision(self) -> str:
        """Of the paths in the folder, and the sizes."""
        return self._revision

    def __len__(self) -> int:
        return len(self._files)

    def read(self, slot: int) -> bytes:
        """Return a file as it is.

        Raises:
            OSError: It cannot be read.
            PreconditionError: DATASET_CHANGED: it has another size by now.
        """
        data = read_whole(self._path(slot))
        if len(data) != self._files.size(slot):
            raise dataset_changed(self._path(slot))
        return data

    def title(self, slot: int) -> str:
        """Return a file's path in the folder."""
        return shown(self._files.names[slot])

    @property
    def duplicates(self) -> Mapping[int, int]:
        """For each picture with the same bytes as an earlier one, the earliest."""
        return self._duplicates.found()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was passed over, and how many pictures may turn out to be unreadable."""
        unreadable = int((self.sizes == UNREADABLE).sum())
        noted = (
            [f"{unreadable} of {len(self)} pictures cannot be looked at, as behind a broken link"] if unreadable else []
        )
        return (*noted, *self._passed_over.notes())

    @property
    def sizes(self) -> NDArray[np.int64]:
        """In bytes, or UNREADABLE; shape (pictures,)."""
        return self._files.sizes

    def parts(self, slot: int, spans: Sequence[range]) -> Iterator[bytes]:
        """Yield parts of a file; raises OSError."""
        return read_parts(self._path(slot), spans)

    def _path(self, slot: int) -> bytes:
        return path_in(self._root, self._files.names[slot])
