"""Errors of the orchestrator, part of the tree in maia.wire.errors."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from maia.wire.errors import InternalError, InvalidRequestError, MaiaError, PreconditionError

LOCKED: Final = "JOURNAL_LOCKED"
"""Reason of a JournalError: another process writes this journal."""

OTHER_RUN: Final = "JOURNAL_OF_ANOTHER_RUN"
"""Reason of a JournalError: what the journal holds is not what is to be run."""

DISK_FULL: Final = "DISK_FULL"
UNWRITABLE: Final = "FOLDER_UNWRITABLE"
"""Reasons of a JournalError that the disk has raised."""

STORE_FAILED: Final = "STORE_FAILED"
"""Reason of a JournalError: the store of copies cannot be read or written."""


class UnknownAgentError(InvalidRequestError):
    """No backbone of that name."""

    default_reason = "AGENT_UNKNOWN"


class MissingKeyError(PreconditionError):
    """A vendor's key is not set; the message names the variable."""

    default_reason = "KEY_MISSING"


class BackboneError(MaiaError):
    """A backbone could not answer; `transient` says whether asking later may help."""

    default_reason = "BACKBONE_FAILED"

    def __init__(self, message: str, *, transient: bool, reason: str | None = None) -> None:
        super().__init__(message, reason=reason)
        self.transient = transient


class JournalError(MaiaError):
    """A journal that cannot be read or written; the message names file and line."""

    default_reason = "JOURNAL_UNUSABLE"


class SandboxFailedError(InternalError):
    """The sandbox host failed a block through no fault of the block; with `passing`, a new session may do, later."""

    default_reason = "SANDBOX_FAILED"

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


def refused(path: Path, error: OSError, advice: str = "") -> JournalError:
    """Return what to say of a disk that refuses to be written.

    Args:
        path: What was to be written.
        error: The system's answer.
        advice: What to do, where the system's answer alone does not say it.
    """
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    hint = "make room and run the same again" if full else advice
    message = f"{path} cannot be written: {error.strerror or error}{f'; {hint}' if hint else ''}"
    return JournalError(message, reason=DISK_FULL if full else UNWRITABLE)
