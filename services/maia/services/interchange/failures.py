"""What stands in the way of files that come in or go out, each with what to do about it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from maia.wire.errors import InvalidRequestError, NotFoundError, PreconditionError


def shown(text: str | Path) -> str:
    r"""Return a name or path for people: no control character, no byte that is not UTF-8, but \x.. for them."""
    readable = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in readable
    )


def files_missing(path: Path, why: str) -> NotFoundError:
    """Return FILES_MISSING.

    Args:
        path: Where something should be.
        why: Goes on after the path, and ends with what to do.
    """
    return NotFoundError(f"{shown(path)} {why}", reason="FILES_MISSING", metadata={"path": shown(path)})


def file_damaged(path: Path, why: str) -> PreconditionError:
    """Return FILES_DAMAGED: a file is not what MAIA or MILAN would have written.

    Args:
        path: The file.
        why: Goes on after the path.
    """
    return PreconditionError(
        f"{shown(path)} {why}; nothing was imported", reason="FILES_DAMAGED", metadata={"path": shown(path)}
    )


def name_unknown(what: str, name: str, valid: Sequence[str]) -> NotFoundError:
    """Return NAME_UNKNOWN, metadata "valid".

    Args:
        what: "model", "dataset" or "layer".
        name: That there is not.
        valid: Those that there are.
    """
    there = ", ".join(dict.fromkeys(valid))
    return NotFoundError(
        f"there is no {what} {shown(name)!r:.100}; there is {shown(there)}",
        reason="NAME_UNKNOWN",
        metadata={"valid": there},
    )


def setting_invalid(why: str) -> InvalidRequestError:
    """Return SETTING_INVALID.

    Args:
        why: A sentence that says what to do instead.
    """
    return InvalidRequestError(why, reason="SETTING_INVALID")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Explain why a file or folder cannot be read.

    Raises:
        PreconditionError: FILES_UNREADABLE.
    """
    try:
        yield
    except OSError as error:
        raise PreconditionError(
            f"{shown(path)} cannot be read: {error.strerror or error}; give this user the right to read it",
            reason="FILES_UNREADABLE",
            metadata={"path": shown(path)},
        ) from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Explain why something cannot be written.

    Raises:
        PreconditionError: FOLDER_UNWRITABLE.
    """
    try:
        yield
    except OSError as error:
        advice = "make room there or choose another folder"
        if error.errno == errno.ENAMETOOLONG:
            advice = "choose a folder with a shorter path"
        raise PreconditionError(
            f"nothing can be written to {shown(folder)}: {error.strerror or error}; {advice}",
            reason="FOLDER_UNWRITABLE",
            metadata={"path": shown(folder)},
        ) from error
