"""What can go wrong between the parts of the system.

    MaiaError
    ├── InvalidRequestError     the caller asked for something that cannot be; asking again does not help
    │   ├── NotFoundError           … by a name that does not exist
    │   ├── OutOfRangeError         … by a number outside its range
    │   └── PreconditionError       … before something else was done
    ├── PermissionRefusedError  the caller may not
    ├── UnauthenticatedError    the caller did not say who it is
    ├── OverloadedError         not now; `retry_after_s` says when
    ├── DeadlineExceededError   the caller's deadline passed before the answer
    ├── CancelledError          the caller hung up
    ├── AbortedError            what was under way is over and cannot go on; begin anew
    ├── UnavailableError        nobody answered where a server was expected
    └── InternalError           a fault of ours; the incident id joins the server's log

Outcomes of a guest's code are not here: they are data (design D6).

An error carries a stable upper-case `reason`, a sentence for people, and `metadata` with the values that the sentence
names. It crosses the wire as google.rpc.Status with an ErrorInfo (AIP-193) and comes out as the same class; the table
is in `maia.wire.status`, so that who only raises or catches these need not import gRPC.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class MaiaError(Exception):
    """Base of all errors that cross between parts.

    Args:
        message: One sentence: what was wrong, with which value, and what to do.
        reason: Stable name, upper snake case, at most 63 characters.
        metadata: The values that the message names, by name.
    """

    default_reason: ClassVar[str] = "ERROR"

    def __init__(self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))


class InvalidRequestError(MaiaError):
    """The request cannot be answered, however often it is made."""

    default_reason = "REQUEST_INVALID"


class NotFoundError(InvalidRequestError):
    """A name that does not exist; metadata "valid" lists those that do."""

    default_reason = "NAME_UNKNOWN"


class OutOfRangeError(InvalidRequestError):
    """A number outside its range; the metadata gives the range."""

    default_reason = "VALUE_OUT_OF_RANGE"


class PreconditionError(InvalidRequestError):
    """Something else must be done first; the message says what."""

    default_reason = "PRECONDITION_FAILED"


class PermissionRefusedError(MaiaError):
    """The caller may not do this."""

    default_reason = "PERMISSION_DENIED"


class UnauthenticatedError(MaiaError):
    """The caller did not prove who it is."""

    default_reason = "UNAUTHENTICATED"


class OverloadedError(MaiaError):
    """The server's queue is full.

    Args:
        retry_after_s: Seconds after which to ask again.
    """

    default_reason = "QUEUE_FULL"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 1.0,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_s = retry_after_s


class DeadlineExceededError(MaiaError):
    """The caller's deadline passed."""

    default_reason = "DEADLINE_EXCEEDED"


class CancelledError(MaiaError):
    """The caller cancelled the call."""

    default_reason = "CANCELLED"


class AbortedError(MaiaError):
    """What was under way, such as a session, is over; only beginning anew helps."""

    default_reason = "ABORTED"


class UnavailableError(MaiaError):
    """No server answered where one was expected."""

    default_reason = "SERVER_UNAVAILABLE"


class InternalError(MaiaError):
    """A fault that nobody planned for; metadata "incident" joins it to the server's log."""

    default_reason = "INTERNAL"
