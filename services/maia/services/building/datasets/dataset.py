"""What a dataset is, and how one is opened by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from maia.services.building.datasets.braces import expanded, has_braces
from maia.services.building.datasets.failures import (
    dataset_empty,
    dataset_missing,
    dataset_unsupported,
    looking_into,
    path_shown,
)
from maia.services.building.datasets.folder import FolderDataset
from maia.services.building.datasets.hugging_face import RowChoice, is_saved, open_parquet, open_saved
from maia.services.building.datasets.listing import list_files
from maia.services.building.datasets.names import PICTURES, extension, shown
from maia.services.building.datasets.progress import Progress, unheard
from maia.services.building.datasets.scene_set import SceneSet
from maia.services.building.datasets.tars import TarDataset
from maia.wire.errors import InvalidRequestError

SCENES: Final = "scenes"
_TARS: Final = frozenset({b".tar"})
_PARQUET: Final = frozenset({b".parquet"})
_LOOKED_FOR: Final = (
    f"files with the extensions {', '.join(sorted(map(bytes.decode, PICTURES)))}, .tar archives, .parquet files and "
    "what save_to_disk writes"
)


class Dataset(Protocol):
    """Pictures in a fixed order. Slots are numbered from 0; what cannot be read keeps its slot."""

    @property
    def name(self) -> str:
        """For people: "scenes-v1", or after the folder or file. Printable."""
        ...

    @property
    def revision(self) -> str:
        """12 hexadecimal digits that change with the list of pictures, not with where the dataset lies."""
        ...

    def __len__(self) -> int: ...

    def read(self, slot: int) -> bytes:
        """Return a picture's file as it is; many threads may call this at once.

        Raises:
            OSError: It cannot be read.
            MaiaError: It cannot be read: DATASET_CHANGED, PICTURE_MISSING.
            IndexError: There is no such slot.
        """
        ...

    def title(self, slot: int) -> str:
        """Return what people call a picture: its path in the folder, member of an archive or row. Printable."""
        ...

    @property
    def duplicates(self) -> Mapping[int, int]:
        """For each picture with the same bytes as an earlier one, the slot of the earliest; found when first asked."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that people should see: what was passed over, which archive is not whole."""
        ...


def open_dataset(
    where: str,
    *,
    store: Path,
    size: int | None = None,
    split: str | None = None,
    column: str | None = None,
    progress: Progress = unheard,
) -> Dataset:
    """Open a dataset on this machine.

    What it is follows from what is there:

    - "scenes": the fixed scene set, rendered into the store first. A folder of that name is "./scenes".
    - a folder that save_to_disk of the library `datasets` wrote.
    - a folder of pictures, to any depth, sorted by the bytes of their paths in it. Pictures are told by extension
      (.jpg, .jpeg, .png, .webp, in any case); all other files and hidden ones are passed over, counted in `notes`.
      Links are followed, those to folders too, but for loops.
    - a folder without pictures, but with .tar files to any depth: their members, tars in the order of their paths.
    - a folder with neither, but with .parquet files: their rows, written once more into the store.
    - a .tar file, several as a pattern such as "shards-{000..007}.tar", or a .parquet file.

    Args:
        where: As above; "~" is the home folder.
        store: Root of the exemplar store.
        size: Take only the first so many pictures; None for all, of the scene set for its usual number.
        split: Of a dataset of Hugging Face; None if it has only one.
        column: Of a dataset of Hugging Face; None for the first with pictures.
        progress: Is told "rendering", "preparing", "listing" and "comparing", by the thread that called.

    Raises:
        NotFoundError: DATASET_MISSING, SPLIT_UNKNOWN, COLUMN_UNKNOWN.
        InvalidRequestError: SIZE_INVALID, DATASET_UNSUPPORTED, SPLIT_UNNAMED, SETTING_INVALID: a split or column of
            what has none.
        PreconditionError: DATASET_EMPTY, DATASET_UNREADABLE, DATASET_DAMAGED, COLUMN_MISSING, EXTRA_MISSING,
            STORE_UNWRITABLE.
    """
    if size is not None and size < 1:
        raise InvalidRequestError(f"a dataset of {size} pictures has none; take at least 1", reason="SIZE_INVALID")
    choice = RowChoice(split, column, size)
    if where == SCENES:
        _without_rows("the scene set", choice)
        return SceneSet(store, size, progress)
    path = _at_home(where)
    with looking_into(path):
        is_folder, is_file = bool(where) and path.is_dir(), path.is_file()
    if is_folder:
        return _open_folder(path, store, choice, progress)
    if is_file:
        return _open_file(path, store, choice, progress)
    if has_braces(where):
        _without_rows(path_shown(path), choice)
        return _open_pattern(str(path), size, progress)
    raise dataset_missing(f"there is no {path_shown(path)}" if where else "no dataset is named")


def _at_home(where: str) -> Path:
    try:
        return Path(where).expanduser()
    except RuntimeError:  # nobody's home: a name that happens to begin with "~"
        return Path(where)


def _open_folder(path: Path, store: Path, choice: RowChoice, progress: Progress) -> Dataset:
    if is_saved(path):
        return open_saved(path, choice, progress)
    pictures = list_files(path, PICTURES, limit=choice.limit, progress=progress)
    if len(pictures.files):
        _without_rows(path_shown(path), choice)
        return FolderDataset(path, pictures, progress)
    tars = list_files(path, _TARS).files.names
    if len(tars):
        _without_rows(path_shown(path), choice)
        archives = [(name, path / os.fsdecode(name)) for name in tars]
        name = shown(os.fsencode(path.resolve().name)) or "/"
        return TarDataset(archives, name, limit=choice.limit, progress=progress)
    tables = list_files(path, _PARQUET).files.names
    if len(tables):
        return open_parquet(path, list(tables), store, choice, progress)
    raise dataset_empty(path, _LOOKED_FOR, pictures.passed_over)


def _open_file(path: Path, store: Path, choice: RowChoice, progress: Progress) -> Dataset:
    kind = extension(os.fsencode(path.name))
    if kind in _PARQUET:
        return open_parquet(path, [os.fsencode(path.name)], store, choice, progress)
    _without_rows(path_shown(path), choice)
    if kind in _TARS:
        name = os.fsencode(path.name)
        return TarDataset([(name, path)], shown(os.fsencode(path.stem)), limit=choice.limit, progress=progress)
    if kind in PICTURES:
        raise dataset_unsupported(path, "is one picture; name the folder that it lies in")
    raise dataset_unsupported(
        path, "is no dataset: of files, only .tar archives that are not compressed and .parquet files are; unpack it, "
        "or name a folder"
    )  # fmt: skip


def _open_pattern(pattern: str, size: int | None, progress: Progress) -> Dataset:
    names: set[str] = set()
    for name in expanded(pattern):
        path = Path(name).absolute()
        with looking_into(path):
            there = path.is_file()
        if not there:
            raise dataset_missing(f"there is no {path_shown(path)}, which the pattern {pattern!r:.200} stands for")
        if extension(os.fsencode(path.name)) not in _TARS:
            raise dataset_unsupported(path, "is no .tar archive; a pattern stands for those alone")
        names.add(str(path))
    around = os.path.commonpath([Path(name).parent for name in names])
    archives = [(os.fsencode(Path(name).relative_to(around)), Path(name)) for name in sorted(names, key=os.fsencode)]
    shown_name = shown(os.fsencode(Path(pattern).stem))
    return TarDataset(archives, shown_name, limit=size, progress=progress)


def _without_rows(what: str, choice: RowChoice) -> None:
    if choice.split is not None or choice.column is not None:
        raise InvalidRequestError(
            f"{what} has neither splits nor columns, which only a dataset of Hugging Face has; leave them out, or name "
            "the subfolder of a split",
            reason="SETTING_INVALID",
        )
