"""What stands in the way of a dataset, each with what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from maia.services.building.datasets.names import PassedOver, shown
from maia.wire.errors import InvalidRequestError, MaiaError, NotFoundError, PreconditionError
from maia.wire.limits import MAX_PICTURE_BYTES

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def path_shown(path: Path | bytes) -> str:
    """Return a path for people, see `names.shown`."""
    return shown(os.fsencode(path))


def dataset_missing(what: str) -> NotFoundError:
    """Return DATASET_MISSING: nothing is where the dataset should be.

    Args:
        what: A clause that says what there is not.
    """
    return NotFoundError(
        f"{what}; name 'scenes', a folder of pictures, .tar files as one pattern such as 'shards-{{000..007}}.tar', a "
        "folder of .parquet files, or one written by save_to_disk",
        reason="DATASET_MISSING",
    )


def dataset_empty(path: Path, looked_for: str, passed_over: PassedOver, also: Sequence[str] = ()) -> PreconditionError:
    """Return DATASET_EMPTY, with what was looked for, what was there instead and what else was noticed."""
    others = f"{passed_over.total} other files: {passed_over}" if passed_over.total else "no other file"
    return PreconditionError(
        "; ".join([f"there is no picture in {path_shown(path)}: looked for {looked_for}, and found {others}", *also]),
        reason="DATASET_EMPTY",
        metadata={"path": path_shown(path), "others": str(passed_over.total)},
    )


def dataset_unsupported(path: Path, why: str) -> InvalidRequestError:
    """Return DATASET_UNSUPPORTED: a file that is no dataset, or not one that can be read.

    Args:
        path: The file.
        why: Goes on after its name, and ends with what to do.
    """
    return InvalidRequestError(
        f"{path_shown(path)} {why}", reason="DATASET_UNSUPPORTED", metadata={"path": path_shown(path)}
    )


def dataset_damaged(path: Path, why: str) -> PreconditionError:
    """Return DATASET_DAMAGED: a file is not what its name says it is."""
    return PreconditionError(
        f"{path_shown(path)} cannot be read: {why}; fetch or write it again",
        reason="DATASET_DAMAGED",
        metadata={"path": path_shown(path)},
    )


def dataset_changed(path: Path | bytes) -> PreconditionError:
    """Return DATASET_CHANGED: a file is no longer what it was when the dataset was opened."""
    return PreconditionError(
        f"{path_shown(path)} has changed since the dataset was opened; open it again",
        reason="DATASET_CHANGED",
        metadata={"path": path_shown(path)},
    )


def picture_missing(row: str, why: str) -> PreconditionError:
    """Return PICTURE_MISSING: a row has no picture that is on this machine.

    Args:
        row: Its title.
        why: Goes on after "row 3 ".
    """
    return PreconditionError(f"{row} {why}", reason="PICTURE_MISSING", metadata={"row": row})


def refuse_too_large(size: int) -> None:
    """Refuse a picture of more bytes than any server takes, which might not fit into memory.

    Raises:
        PreconditionError: PICTURE_TOO_LARGE.
    """
    if size > MAX_PICTURE_BYTES:
        raise PreconditionError(
            f"has {size} bytes; at most {MAX_PICTURE_BYTES} are accepted",
            reason="PICTURE_TOO_LARGE",
            metadata={"limit": str(MAX_PICTURE_BYTES)},
        )


def short(error: BaseException) -> str:
    """Return what an error of a library says, on one line."""
    text = shown(" ".join(str(error).split()).encode("utf-8", "surrogateescape"))
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


@contextmanager
def looking_into(path: Path | bytes) -> Iterator[None]:
    """Explain why a folder or an archive cannot be listed.

    Raises:
        PreconditionError: DATASET_UNREADABLE.
    """
    try:
        yield
    except OSError as error:
        raise dataset_unreadable(path, error) from error


def dataset_unreadable(path: Path | bytes, error: OSError) -> PreconditionError:
    """Return DATASET_UNREADABLE: the disk fails, or this user may not read."""
    return PreconditionError(
        f"{path_shown(path)} cannot be read: {error.strerror or error}; a dataset is taken whole or not at all, so "
        "give this user the right to read it, or take the file or folder out",
        reason="DATASET_UNREADABLE",
        metadata={"path": path_shown(path)},
    )


def store_unwritable(store: Path, error: OSError) -> MaiaError:
    """Return STORE_UNWRITABLE: there is no room, or no permission, for what a dataset needs to keep."""
    return PreconditionError(
        f"the dataset cannot be prepared in {path_shown(store)}: {error.strerror or 'the disk may be full'}; make room "
        "there or choose another folder",
        reason="STORE_UNWRITABLE",
        metadata={"store": path_shown(store)},
    )


@contextmanager
def storing(store: Path) -> Iterator[None]:
    """Explain why something cannot be kept in the store.

    Raises:
        PreconditionError: STORE_UNWRITABLE.
    """
    try:
        yield
    except OSError as error:
        raise store_unwritable(store, error) from error
