"""What all datasets that list their pictures first have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from maia.services.building.datasets.duplicates import DuplicateSearch
from maia.services.building.datasets.packed import PictureList
from maia.services.building.datasets.progress import Progress


class ListedDataset(ABC):
    """A part of a `dataset.Dataset`.

    Attributes:
        name: For people; printable.
        revision: 12 hexadecimal digits, of the pictures' names and sizes in their order.
    """

    def __init__(self, name: str, listed: PictureList, progress: Progress) -> None:
        """Take over a list.

        Args:
            name: For people; printable.
            listed: All pictures; not to be changed any more.
            progress: Is told "comparing".
        """
        self.name = name
        self.revision = listed.revision()
        self._listed = listed
        self._duplicates = DuplicateSearch(self, progress)

    def __len__(self) -> int:
        return len(self._listed)

    @property
    def duplicates(self) -> Mapping[int, int]:
        """For each picture with the same bytes as an earlier one, the earliest."""
        return self._duplicates.found()

    @property
    def sizes(self) -> NDArray[np.int64]:
        """In bytes, or UNREADABLE; shape (pictures,)."""
        return self._listed.sizes

    @abstractmethod
    def parts(self, slot: int, spans: Sequence[range]) -> Iterator[bytes]:
        """Yield parts of a picture.

        Raises:
            OSError: It cannot be read.
            MaiaError: It cannot be read.
        """
