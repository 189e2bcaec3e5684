"""A folder of pictures, also one with a subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from maia.services.building.datasets.files import path_in, read_parts, read_whole
from maia.services.building.datasets.listed import ListedDataset
from maia.services.building.datasets.listing import Listing
from maia.services.building.datasets.names import shown
from maia.services.building.datasets.packed import UNREADABLE
from maia.services.building.datasets.progress import Progress, unheard


class FolderDataset(ListedDataset):
    """The pictures of a folder, in the order of `listing.list_files`; see `dataset.Dataset`."""

    def __init__(self, folder: Path, listing: Listing, progress: Progress = unheard) -> None:
        self._root = os.fsencode(folder.absolute())
        self._passed_over = listing.passed_over
        super().__init__(shown(os.fsencode(folder.resolve().name)) or "/", listing.files, progress)

    def read(self, slot: int) -> bytes:
        """Return a file as it is.

        Raises:
            OSError: It cannot be read.
            PreconditionError: DATASET_CHANGED: it has another size by now. PICTURE_TOO_LARGE.
        """
        return read_whole(self._path(slot), self._listed.size(slot))

    def title(self, slot: int) -> str:
        """Return a file's path in the folder."""
        return shown(self._listed.names[slot])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was passed over, and how many pictures may turn out to be unreadable."""
        unreadable = int((self.sizes == UNREADABLE).sum())
        noted = (
            [f"{unreadable} of {len(self)} pictures cannot be looked at, as behind a broken link"] if unreadable else []
        )
        return (*noted, *self._passed_over.notes())

    def parts(self, slot: int, spans: Sequence[range]) -> Iterator[bytes]:
        """Yield parts of a file; raises OSError."""
        return read_parts(self._path(slot), spans)

    def _path(self, slot: int) -> bytes:
        return path_in(self._root, self._listed.names[slot])
