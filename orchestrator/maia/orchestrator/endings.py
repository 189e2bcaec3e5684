"""Which end of a run an error means: paused, where asking later may help, or invalid. Neither is a finding."""

from __future__ import annotations

from typing import Final

from maia.orchestrator.errors import DISK_FULL, STORE_FAILED, UNWRITABLE, BackboneError
from maia.orchestrator.events import Stopped
from maia.orchestrator.pausing import PausedError
from maia.sandbox import HostGoneError, SandboxError, SessionsFullError
from maia.wire.errors import DeadlineExceededError, MaiaError
from maia.wire.status import RETRYABLE

_LATER: Final = (PausedError, HostGoneError, SessionsFullError, DeadlineExceededError, *RETRYABLE)
_LATER_REASONS: Final = frozenset({DISK_FULL, UNWRITABLE, STORE_FAILED})


def may_pass(error: BaseException) -> bool:
    """Tell whether asking later may help, without anybody changing a setting or the code."""
    if isinstance(error, BackboneError):
        return error.transient
    if isinstance(error, MaiaError) and error.reason in _LATER_REASONS:
        return True
    cause = error.__cause__  # of "the sandbox failed"
    return isinstance(error, _LATER) or (cause is not None and isinstance(cause, SandboxError) and may_pass(cause))


def stopped_by(error: Exception) -> Stopped:
    """Return the end of a run that an error has stopped."""
    if isinstance(error, MaiaError):
        reason, message = error.reason, error.message
    elif isinstance(error, SandboxError):
        reason, message = "SANDBOX_FAILED", str(error)
    else:
        reason, message = "INTERNAL", f"{type(error).__name__}: {error}"
    return Stopped(why="paused" if may_pass(error) else "invalid", reason=reason, message=message)
