"""The fixed scene set, as a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maia.services.building.datasets.duplicates import DuplicateSearch
from maia.services.building.datasets.failures import storing
from maia.services.building.datasets.files import read_parts
from maia.services.building.datasets.progress import Progress, unheard
from maia.services.exemplars.dataset import DEFAULT_SIZE, NAME, picture_path, render_dataset


class SceneSet:
    """The first scenes, rendered into the store where it does not have them; see `dataset.Dataset`."""

    def __init__(self, store: Path, size: int | None, progress: Progress = unheard) -> None:
        """Render what is missing.

        Args:
            store: Root of the exemplar store.
            size: Number of scenes, None for as many as the set usually has.
            progress: Is told "rendering" and "comparing".

        Raises:
            PreconditionError: STORE_UNWRITABLE.
        """
        total = size or DEFAULT_SIZE
        with storing(store):
            self._scenes = render_dataset(store, total, lambda done: progress("rendering", done, total))
        self._duplicates = DuplicateSearch(self, progress)

    @property
    def name(self) -> str:
        """Of the set."""
        return NAME

    @property
    def revision(self) -> str:
        """Of the code that draws the scenes."""
        return self._scenes.revision

    def __len__(self) -> int:
        return self._scenes.size

    def read(self, slot: int) -> bytes:
        """Return a scene's PNG; raises OSError."""
        return self._scenes.read(slot)

    def title(self, slot: int) -> str:
        """Return what a scene is called."""
        return f"scene {slot}"

    @property
    def duplicates(self) -> Mapping[int, int]:
        """For each scene with the same bytes as an earlier one, the earliest."""
        return self._duplicates.found()

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing: the set is always whole."""
        return ()

    @property
    def sizes(self) -> NDArray[np.int64]:
        """In bytes; shape (pictures,)."""
        paths = (picture_path(self._scenes.folder, slot) for slot in range(len(self)))
        return np.array([path.stat().st_size for path in paths], np.int64)

    def parts(self, slot: int, spans: Sequence[range]) -> Iterator[bytes]:
        """Yield parts of a picture; raises OSError."""
        return read_parts(os.fsencode(picture_path(self._scenes.folder, slot)), spans)
