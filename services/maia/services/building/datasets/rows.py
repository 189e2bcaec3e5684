"""The rows of a dataset of the library `datasets`, one column of which holds pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from maia.services.building.datasets.failures import picture_missing, refuse_too_large
from maia.services.building.datasets.files import path_in, read_whole, status
from maia.services.building.datasets.listed import ListedDataset
from maia.services.building.datasets.names import shown
from maia.services.building.datasets.packed import UNREADABLE, PictureList
from maia.services.building.datasets.progress import Progress, unheard

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

_BATCH: Final = 1024  # rows


class RowsDataset(ListedDataset):
    """Rows with pictures, in their order; see `dataset.Dataset`.

    A row holds its picture's bytes, or the path of a file in the dataset's folder.
    """

    def __init__(
        self,
        rows: datasets.Dataset,
        column: str,
        folder: Path,
        name: str,
        *,
        noted: Sequence[str] = (),
        progress: Progress = unheard,
    ) -> None:
        """Look at the lengths of all pictures, which reads none of them.

        Args:
            rows: A `datasets.Dataset` with this one column, which decodes nothing.
            column: Of bytes, or of structures of bytes and path.
            folder: Where the dataset lies.
            name: Of the dataset.
            noted: Sentences that people should see.
            progress: Is told "listing" and "comparing".
        """
        self._rows = rows
        self._column = column
        self._folder = os.fsencode(folder.absolute())
        self._noted = noted
        listed = PictureList()
        for batch in rows.with_format("arrow").iter(batch_size=_BATCH):
            for size in self._lengths(batch[column]):
                listed.append(b"", size)
            progress("listing", len(listed), len(rows))
        super().__init__(name, listed, progress)

    def read(self, slot: int) -> bytes:
        """Return a row's picture as it is stored.

        Raises:
            OSError: It is a file, which cannot be read.
            PreconditionError: PICTURE_MISSING: the row has none, or one elsewhere. DATASET_CHANGED: it is a file of
                another size by now. PICTURE_TOO_LARGE.
        """
        size = self._listed.size(slot)  # the library takes -1 for its last row
        refuse_too_large(size)
        data, path = self._cell(self._rows[slot][self._column])
        if data is not None:
            return data
        if path is None:
            raise picture_missing(self.title(slot), "has no picture")
        if _is_elsewhere(path):
            raise picture_missing(
                self.title(slot), f"has its picture at {shown(os.fsencode(path[:200]))}; nothing is downloaded"
            )
        file = self._path(path)
        if file is None:
            raise picture_missing(
                self.title(slot),
                f"has its picture at {shown(os.fsencode(path[:200]))}, outside the dataset's folder; it is not opened",
            )
        return read_whole(file, size)

    def title(self, slot: int) -> str:
        """Return what a row is called; the first is row 0."""
        return f"row {slot}"

    @property
    def notes(self) -> tuple[str, ...]:
        """How many rows have no picture that can be read, and what was left out."""
        missing = int((self._listed.sizes == UNREADABLE).sum())
        told = [f"{missing} of {len(self)} rows have no picture that can be read"] if missing else []
        return (*told, *self._noted)

    def parts(self, slot: int, spans: Sequence[range]) -> Iterator[bytes]:
        """Yield parts of a picture; raises as `read`."""
        data = self.read(slot)
        return (data[span.start : span.stop] for span in spans)

    def _lengths(self, cells: pa.ChunkedArray) -> list[int]:
        """Sizes of the pictures in a pyarrow array; that of bytes follows from where they begin and end."""
        from pyarrow import compute, types

        if not types.is_struct(cells.type):
            return [UNREADABLE if size is None else size for size in compute.binary_length(cells).to_pylist()]
        sizes: list[int | None] = compute.binary_length(compute.struct_field(cells, "bytes")).to_pylist()
        paths: list[str | None] = (
            compute.struct_field(cells, "path").to_pylist() if None in sizes else [None] * len(sizes)
        )
        return [self._file_size(path) if size is None else size for size, path in zip(sizes, paths, strict=True)]

    def _file_size(self, path: str | None) -> int:
        if path is None or _is_elsewhere(path):
            return UNREADABLE
        file = self._path(path)
        try:
            return UNREADABLE if file is None else status(file).st_size
        except OSError:
            return UNREADABLE

    def _path(self, path: str) -> bytes | None:
        """Where a file is; None outside the dataset's folder: who wrote the table may name any file of this machine."""
        encoded = os.fsencode(path)
        file = os.path.normpath(encoded if encoded.startswith(b"/") else path_in(self._folder, encoded))
        inside = (path_in(folder, b"") for folder in (self._folder, os.path.realpath(self._folder)))
        return file if file.startswith(tuple(inside)) else None

    @staticmethod
    def _cell(cell: Mapping[str, Any] | bytes | None) -> tuple[bytes | None, str | None]:
        if cell is None or isinstance(cell, bytes):
            return cell, None
        return cell["bytes"], cell["path"]


def _is_elsewhere(path: str) -> bool:
    """Whether a path is that of no file: a URL, also one into an archive, or with a zero byte."""
    return "://" in path or "\0" in path
