"""Our errors as gRPC statuses, and gRPC statuses as our errors: the one table.

A server turns a `MaiaError` into a google.rpc.Status with an ErrorInfo (`to_status`); a client turns the failed call
back into the same class (`from_rpc`, `translated`). Statuses without details, as gRPC itself makes them when a server
is down or a message too large, map too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, TypeVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from maia.wire.errors import (
    AbortedError,
    CancelledError,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    MaiaError,
    NotFoundError,
    OutOfRangeError,
    OverloadedError,
    PermissionRefusedError,
    PreconditionError,
    UnauthenticatedError,
    UnavailableError,
)

DOMAIN: Final = "maia"
"""ErrorInfo.domain of every error that is ours."""

STATUS_OF: Mapping[type[MaiaError], grpc.StatusCode] = MappingProxyType(
    {
        InvalidRequestError: grpc.StatusCode.INVALID_ARGUMENT,
        NotFoundError: grpc.StatusCode.NOT_FOUND,
        OutOfRangeError: grpc.StatusCode.OUT_OF_RANGE,
        PreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
        PermissionRefusedError: grpc.StatusCode.PERMISSION_DENIED,
        UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
        OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
        DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
        CancelledError: grpc.StatusCode.CANCELLED,
        AbortedError: grpc.StatusCode.ABORTED,
        UnavailableError: grpc.StatusCode.UNAVAILABLE,
        InternalError: grpc.StatusCode.INTERNAL,
    }
)
"""The one table. A test holds that it names every class once and that every gRPC status maps back."""

ERROR_OF: Mapping[grpc.StatusCode, type[MaiaError]] = MappingProxyType(
    {status: error for error, status in STATUS_OF.items()}
    | {
        # Statuses that we never send, as a proxy or another implementation may send them.
        grpc.StatusCode.ALREADY_EXISTS: InvalidRequestError,
        grpc.StatusCode.UNIMPLEMENTED: PreconditionError,
        grpc.StatusCode.DATA_LOSS: InternalError,
        grpc.StatusCode.UNKNOWN: InternalError,
    }
)

RETRYABLE: frozenset[type[MaiaError]] = frozenset({UnavailableError, OverloadedError})
"""Asking again may help: every call is idempotent, by seed and content."""

# A status travels in the trailers, where message and details share `limits.MAX_METADATA_BYTES`, the message being
# percent-encoded once more beside the details.
_MAX_MESSAGE_BYTES: Final = 2_000
_MAX_VALUE_BYTES: Final = 1_500
_MAX_VALUES: Final = 6


_Detail = TypeVar("_Detail", bound=Message)


def status_code(error: MaiaError) -> grpc.StatusCode:
    """Return the status of an error; a class that is not in the table has the status of its nearest base."""
    for cls in type(error).__mro__:
        if cls in STATUS_OF:
            return STATUS_OF[cls]
    return grpc.StatusCode.INTERNAL


def to_status(error: MaiaError) -> grpc.Status:
    """Return the status that a servicer aborts its call with.

    Texts that are too long for a call's trailers are cut and end in "…".
    """
    details = [
        error_details_pb2.ErrorInfo(
            reason=error.reason,
            domain=DOMAIN,
            metadata={
                _clipped(key, 63): _clipped(value, _MAX_VALUE_BYTES)
                for key, value in list(error.metadata.items())[:_MAX_VALUES]
            },
        )
    ]
    if isinstance(error, OverloadedError):
        delay = Duration()
        delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    status = status_pb2.Status(code=status_code(error).value[0], message=_clipped(error.message, _MAX_MESSAGE_BYTES))
    for detail in details:
        status.details.add().Pack(detail)
    result: grpc.Status = rpc_status.to_status(status)
    return result


def from_rpc(error: grpc.aio.AioRpcError, *, server: str) -> MaiaError:
    """Return our error for a failed call.

    Args:
        error: What the call raised.
        server: Whom the call was for, as a person would say it ("subject server at 127.0.0.1:50051"); stands in the
            message where gRPC itself, not a servicer of ours, made the status.
    """
    status = _details(error)
    info = _unpack(status, error_details_pb2.ErrorInfo)
    code, text = error.code(), error.details() or ""
    if info is None or info.domain != DOMAIN:
        return _foreign(code, text, server)
    cls = ERROR_OF.get(code, InternalError)
    metadata = dict(info.metadata)
    if cls in (UnauthenticatedError, PermissionRefusedError):
        return cls(f"the {server} refuses the call: {text}", reason=info.reason, metadata=metadata)
    if cls is OverloadedError:
        retry = _unpack(status, error_details_pb2.RetryInfo)
        delay = retry.retry_delay.ToNanoseconds() / 1e9 if retry is not None else 1.0
        return OverloadedError(text, reason=info.reason, metadata=metadata, retry_after_s=delay)
    return cls(text, reason=info.reason, metadata=metadata)


@contextmanager
def translated(*, server: str) -> Iterator[None]:
    """Raise our errors instead of gRPC's for the calls awaited inside.

    Args:
        server: As in `from_rpc`.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, server=server) from error


def _foreign(code: grpc.StatusCode, text: str, server: str) -> MaiaError:
    """An error for a status that gRPC, a proxy or someone else's server made."""
    if code is grpc.StatusCode.UNAVAILABLE and "handshake failed" in text:
        return UnauthenticatedError(
            f"no connection with the {server}, whose certificate or ours is refused ({text})",
            reason="TLS_REFUSED",
            metadata={"server": server},
        )
    if code is grpc.StatusCode.UNAVAILABLE and "failed to connect" in text and "Socket closed" in text:
        # A server that does not like a certificate hangs up; so does one that is just ending.
        return UnavailableError(
            f"the {server} hangs up ({text}); does it accept our certificate?", metadata={"server": server}
        )
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnavailableError(f"the {server} does not answer ({text})", metadata={"server": server})
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceededError(f"the {server} did not answer before the deadline", metadata={"server": server})
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text:
        # gRPC gives a message over the limit the status of a full queue; sending it again would never help.
        return InvalidRequestError(
            f"a message to or from the {server} is too large ({text}); send fewer or smaller pictures",
            reason="MESSAGE_TOO_LARGE",
            metadata={"server": server},
        )
    cls = ERROR_OF.get(code, InternalError)
    return cls(f"the {server} answered {code.name}: {text}", metadata={"server": server})


def _details(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None  # somebody else's trailer; the plain status still says what happened
    return None


def _unpack(status: status_pb2.Status | None, kind: type[_Detail]) -> _Detail | None:
    for detail in status.details if status is not None else ():
        message = kind()
        if detail.Unpack(message):
            return message
    return None


def _clipped(text: str, limit: int) -> str:
    """Cut a text to at most `limit` bytes of UTF-8; what UTF-8 cannot hold (lone surrogates) becomes "?"."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode("utf-8", "ignore") + "…"
