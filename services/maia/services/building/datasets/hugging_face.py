"""Datasets of Hugging Face on this machine: as save_to_disk writes them, or Parquet files. Nothing is downloaded."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from maia.services.building.datasets.failures import (
    NO_ROOM,
    dataset_damaged,
    dataset_unreadable,
    path_shown,
    short,
    store_unwritable,
    storing,
)
from maia.services.building.datasets.names import shown
from maia.services.building.datasets.progress import Progress, unheard
from maia.services.building.datasets.rows import RowsDataset
from maia.services.building.datasets.splits import splits_of
from maia.wire.errors import InvalidRequestError, MaiaError, NotFoundError, PreconditionError

if TYPE_CHECKING:
    import datasets

_SPLITS_FILE: Final = "dataset_dict.json"
_ROWS_FILE: Final = "state.json"


@dataclass(frozen=True, slots=True)
class RowChoice:
    """What of a dataset to take.

    Attributes:
        split: None for the only one.
        column: None for the first with pictures.
        limit: Only the first so many rows; None for all.
    """

    split: str | None = None
    column: str | None = None
    limit: int | None = None


def is_saved(folder: Path) -> bool:
    """Whether save_to_disk wrote a folder."""
    return (folder / _SPLITS_FILE).is_file() or (folder / _ROWS_FILE).is_file()


def open_saved(folder: Path, choice: RowChoice, progress: Progress = unheard) -> RowsDataset:
    """Open what save_to_disk wrote, a Dataset or a DatasetDict.

    Raises:
        PreconditionError: EXTRA_MISSING, DATASET_DAMAGED, COLUMN_MISSING, DATASET_EMPTY.
        InvalidRequestError: SPLIT_UNNAMED: there are several.
        NotFoundError: SPLIT_UNKNOWN, COLUMN_UNKNOWN.
    """
    library = _library()
    name = _named(folder)
    rows_in = folder
    if (folder / _SPLITS_FILE).is_file():
        with _reading(folder):
            splits = [str(split) for split in json.loads((folder / _SPLITS_FILE).read_bytes())["splits"]]
        split = _chosen_split(folder, splits, choice)
        rows_in = folder / split
        name = f"{name}/{shown(os.fsencode(split))}" if len(splits) > 1 else name
    with _reading(rows_in):
        if not json.loads((rows_in / _ROWS_FILE).read_bytes())["_data_files"]:
            raise _without_rows(rows_in)  # the library fails at it
        rows = library.load_from_disk(str(rows_in))
    if rows_in == folder and choice.split not in {None, str(rows.split)}:
        _chosen_split(folder, [str(rows.split)] if rows.split else [], choice)
    return _with_pictures(rows, folder, name, choice, progress=progress)


def open_parquet(
    root: Path, files: Sequence[bytes], store: Path, choice: RowChoice, progress: Progress = unheard
) -> RowsDataset:
    """Open Parquet files, in this order.

    They hold rows in compressed groups, from which one row cannot be read alone. So the library writes them once more
    as it can read them, into the store; as long as they do not change, that is done only once.

    Args:
        root: Their folder, or the only file.
        files: Their paths in the folder, with "/" between names.
        store: Root of the exemplar store.
        choice: What to take.
        progress: Is told "preparing", "listing" and "comparing".

    Raises:
        PreconditionError: STORE_UNWRITABLE, and as `open_saved`.
        InvalidRequestError: As `open_saved`.
        NotFoundError: As `open_saved`.
    """
    library = _library()
    splits = splits_of([os.fsdecode(file) for file in files])
    split = _chosen_split(root, list(splits), choice)
    folder = _folder_of(root).absolute()
    tables = _with_rows([folder / file for file in splits[split]])
    if not tables:
        raise _without_rows(root)
    total = sum(tables.values())
    cache = store / "datasets" / "hugging-face"
    with storing(store):
        cache.mkdir(parents=True, exist_ok=True)
    progress("preparing", 0, total)
    with _reading(root, store), _without_bars(library):
        rows = library.load_dataset(
            "parquet",
            # The library takes every name for a pattern.
            data_files={split: [glob.escape(str(table)) for table in tables]},
            split=split,
            cache_dir=str(cache),
        )
    name = f"{_named(root)}/{shown(os.fsencode(split))}" if len(splits) > 1 else _named(root)
    progress("preparing", total, total)
    left_out = len(files) - sum(map(len, splits.values()))
    noted = [f"{left_out} of {len(files)} .parquet files have no split in their names and are left out"]
    return _with_pictures(rows, root, name, choice, progress=progress, noted=noted if left_out else ())


def _with_rows(tables: Sequence[Path]) -> dict[Path, int]:
    """Return tables and how many rows each has. Those without one are left out: the library fails at them."""
    from pyarrow import parquet

    counts = {}
    for table in tables:
        with _reading(table):
            counts[table] = parquet.read_metadata(table).num_rows
    return {table: rows for table, rows in counts.items() if rows}


def _chosen_split(where: Path, splits: Sequence[str], choice: RowChoice) -> str:
    valid = ", ".join(shown(os.fsencode(split)) for split in splits)
    if choice.split is None:
        if len(splits) == 1:
            return splits[0]
        raise InvalidRequestError(
            f"{path_shown(where)} has several splits; choose one: {valid}",
            reason="SPLIT_UNNAMED",
            metadata={"valid": valid},
        )
    if choice.split not in splits:
        raise NotFoundError(
            f"{path_shown(where)} has no split {choice.split!r:.100}; it has {valid or 'none, leave it out'}",
            reason="SPLIT_UNKNOWN",
            metadata={"valid": valid},
        )
    return choice.split


def _with_pictures(
    rows: datasets.Dataset, where: Path, name: str, choice: RowChoice, *, progress: Progress, noted: Sequence[str] = ()
) -> RowsDataset:
    column = _picture_column(rows, where, choice)
    if not len(rows):
        raise _without_rows(where)
    with _reading(where):
        # It may have been saved so that its rows become tensors.
        rows = rows.with_format(None).select_columns([column])
        if choice.limit is not None and choice.limit < len(rows):
            rows = rows.select(range(choice.limit))
        image = _library().Image
        if isinstance(rows.features[column], image):
            rows = rows.cast_column(column, image(decode=False))
        return RowsDataset(rows, column, _folder_of(where), name, noted=noted, progress=progress)


def _without_rows(where: Path) -> PreconditionError:
    return PreconditionError(
        f"there is no picture in {path_shown(where)}: the dataset has no rows",
        reason="DATASET_EMPTY",
        metadata={"path": path_shown(where)},
    )


def _folder_of(where: Path) -> Path:
    return where if where.is_dir() else where.parent


def _picture_column(rows: datasets.Dataset, where: Path, choice: RowChoice) -> str:
    columns = _picture_columns(rows.features)
    valid = ", ".join(columns)
    if choice.column is not None:
        if choice.column not in columns:
            raise NotFoundError(
                f"{path_shown(where)} has no column {choice.column!r:.100} with pictures; it has "
                f"{valid or 'none at all'}",
                reason="COLUMN_UNKNOWN",
                metadata={"valid": valid},
            )
        return choice.column
    if not columns:
        raise PreconditionError(
            f"{path_shown(where)} has no column with pictures; its columns are "
            f"{', '.join(f'{column!r:.60}' for column in rows.column_names)}",
            reason="COLUMN_MISSING",
        )
    return columns[0]


def _picture_columns(features: datasets.Features) -> list[str]:
    """Columns that may hold pictures: those that say so, then structures of bytes and path, then plain bytes."""
    library = _library()

    def rank(feature: object) -> int | None:
        if isinstance(feature, library.Image):
            return 0
        if isinstance(feature, dict) and feature.keys() >= {"bytes", "path"} and _is_bytes(feature["bytes"]):
            return 1
        return 2 if _is_bytes(feature) else None

    ranked = [(kind, column) for column, feature in features.items() if (kind := rank(feature)) is not None]
    return [column for _, column in sorted(ranked, key=lambda item: item[0])]


def _is_bytes(feature: object) -> bool:
    return getattr(feature, "dtype", None) in {"binary", "large_binary"}


def _named(path: Path) -> str:
    resolved = path.resolve()
    return shown(os.fsencode(resolved.name if path.is_dir() else resolved.stem)) or "/"


def _library() -> ModuleType:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise PreconditionError(
            f"a dataset of Hugging Face needs the library {error.name}, which is not installed; run: "
            "pip install 'maia[datasets]'",
            reason="EXTRA_MISSING",
            metadata={"module": error.name or "datasets", "extra": "datasets"},
        ) from error
    library: ModuleType = datasets
    return library


@contextmanager
def _reading(where: Path, store: Path | None = None) -> Iterator[None]:
    try:
        yield
    except MaiaError:
        raise
    except PermissionError as error:
        raise dataset_unreadable(where, error) from error
    except Exception as error:  # readers raise whatever a malformed file makes them raise
        cause: BaseException | None = error
        while cause is not None:
            if store is not None and isinstance(cause, OSError) and cause.errno in NO_ROOM:
                raise store_unwritable(store, cause) from error
            root, cause = cause, cause.__cause__
        raise dataset_damaged(where, short(root)) from error


@contextmanager
def _without_bars(library: ModuleType) -> Iterator[None]:
    """Keep the library's bars off standard error: who calls shows its own."""
    bars = library.utils
    if bars.is_progress_bar_enabled():
        library.disable_progress_bars()
        try:
            yield
        finally:
            library.enable_progress_bars()
    else:
        yield
