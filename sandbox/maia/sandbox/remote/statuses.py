"""The sandbox's errors ↔ those that cross the wire."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

import grpc

from maia.sandbox.errors import (
    HostGoneError,
    ProtocolError,
    SandboxError,
    SessionError,
    SessionsFullError,
    TierUnavailableError,
)
from maia.wire.errors import (
    AbortedError,
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)
from maia.wire.status import from_rpc

RETRY_AFTER_S: Final = 1.0
"""When to ask a full host again: blocks take seconds, sessions minutes."""


def invalid(error: Exception | str) -> InvalidRequestError:
    """Return what a client is told of a request that cannot be."""
    return InvalidRequestError(str(error), reason="SESSION_REQUEST_INVALID")


def full(limit: int) -> OverloadedError:
    """Return what a client is told by a host that has as many sessions as it may."""
    return OverloadedError(
        f"the sandbox host has {limit} open sessions, as many as it may; try again later, or use another host",
        reason="SESSIONS_FULL",
        metadata={"session_limit": str(limit)},
        retry_after_s=RETRY_AFTER_S,
    )


def to_wire(error: SandboxError) -> MaiaError:
    """Return what a client is told of a failure of the sandbox."""
    match error:
        case TierUnavailableError():
            return PreconditionError(
                str(error),
                reason="TIER_UNAVAILABLE",
                metadata={
                    "tier": error.tier,
                    "step": error.step,
                    "errno": str(error.errno),
                    "remedy": error.remedy,
                },
            )
        case HostGoneError():
            return UnavailableError(str(error), reason="HOST_FAILED")
        case SessionError():
            return AbortedError(str(error), reason="SESSION_BROKEN")
        case ProtocolError():
            return invalid(error)
        case _:
            return UnavailableError(str(error), reason="HOST_FAILED")


def from_wire(error: grpc.aio.AioRpcError, address: str) -> SandboxError:
    """Return the sandbox's error for a call that failed before its session was open."""
    told = from_rpc(error, server=f"sandbox host at {address}")
    if told.reason == "TIER_UNAVAILABLE":
        return _tier_unavailable(told.metadata, address)
    if isinstance(told, OverloadedError):  # it has as many sessions as it may, or as many of this client
        return SessionsFullError(f"{told.message} (at {address})", retry_after_s=told.retry_after_s)
    kind = HostGoneError if isinstance(told, UnavailableError) else SandboxError
    return kind(told.message if address in told.message else f"{told.message} (from {address})")


def _tier_unavailable(values: Mapping[str, str], address: str) -> TierUnavailableError:
    number = int(values["errno"]) if values.get("errno", "").isdecimal() else 0
    reason = f"{os.strerror(number)}, " if number else ""
    return TierUnavailableError(
        step=values.get("step", ""),
        errno=number,
        reason=f"{reason}at the sandbox host {address}",
        remedy=values.get("remedy", ""),
        tier=values.get("tier", ""),
    )


def session_error(error: grpc.aio.AioRpcError, address: str) -> SessionError:
    """Return the error that ends an open session."""
    told = from_rpc(error, server=f"sandbox host at {address}")
    if told.reason == "SESSION_BROKEN":
        return SessionError(told.message)
    return HostGoneError(f"the session at the sandbox host {address} is over: {told.message}")
