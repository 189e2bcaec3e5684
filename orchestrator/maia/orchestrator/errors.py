"""Errors of the orchestrator, part of the tree in maia.wire.errors."""

from __future__ import annotations

from maia.wire.errors import InternalError, InvalidRequestError, MaiaError, PreconditionError


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
