"""Who calls, whether they may, and how much of a server one client may take: checked before a request is read.

A client is named by its token, else by its certificate, else by where it calls from. Whether a server is alive may be
asked with any certificate of its CA, and without a token: probes have none.
"""

from __future__ import annotations

import inspect
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import grpc
import structlog

from maia.wire.calls import kind_of, readable
from maia.wire.errors import (
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PermissionRefusedError,
)
from maia.wire.tokens import SCOPES, Principal, Quota, TokenFile

_Handler = Any
_Behaviour = Callable[[Any, Any], Any]
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_OPEN: Final = "/grpc.health."
_SCOPE_OF: Final = {"execution": "sandbox"}
_REMEMBERED: Final = 10_000
"""Clients whose recent calls are remembered though none of theirs is being answered."""

_RETRY_AFTER_S: Final = 1.0
_CLIENT: ContextVar[str] = ContextVar("maia_client", default="")

log = structlog.stdlib.get_logger("maia.access")


def authenticated_client() -> str:
    """Return the name of whoever makes the call that is being answered; "" where nobody has to say."""
    return _CLIENT.get()


def scope_of(name: str) -> str | None:
    """Return the scope that a service or method belongs to: "subject"; None for gRPC's own.

    Args:
        name: "maia.subject.v1.SubjectService", or with a method, "/maia.subject.v1.SubjectService/ListSubjects".
    """
    parts = name.lstrip("/").split(".")
    if len(parts) < 3 or parts[0] != "maia":
        return None
    scope = _SCOPE_OF.get(parts[1], parts[1])
    return scope if scope in SCOPES else None


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call.

    Attributes:
        tokens: Of those who may; None if no token is needed.
        certificates: Names, one of which a client's certificate must bear; None for all that the CA has signed.
        quota: Of each client for which `tokens` says no other.
    """

    tokens: TokenFile | None = None
    certificates: frozenset[str] | None = None
    quota: Quota = field(default_factory=Quota)


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Refuses who may not call, before their request is deserialised."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._shares = _Shares()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_OPEN):
            return handler
        sent = dict(handler_call_details.invocation_metadata or ())
        call = _Call(self._access, self._shares, handler_call_details.method, sent.get("authorization"))
        kind = kind_of(handler)
        behaviour = getattr(handler, kind)
        if kind.startswith("stream"):
            return handler._replace(**{kind: _admitting(behaviour, call, None)})
        return handler._replace(
            request_deserializer=_as_bytes,
            **{kind: _admitting(behaviour, call, handler.request_deserializer)},
        )


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that asks to be answered."""

    access: Access
    shares: _Shares
    method: str
    authorization: object = field(repr=False)

    @contextmanager
    def admitted(self, context: _Context, size: int) -> Iterator[None]:
        """Count a call as its client's while it is answered.

        Raises:
            UnauthenticatedError, PermissionRefusedError: See `TokenFile.identify`; CLIENT_NOT_ALLOWED.
            OverloadedError: CLIENT_TOO_FAST or CLIENT_TOO_BUSY.
            InvalidRequestError: REQUEST_TOO_LARGE.
        """
        names = _names(context)
        try:
            self._check_certificate(names)
            name, principal = self._identified(names)
            # Without any proof of who they are, clients are told apart by their machine.
            share = self.shares.of(name or context.peer().rpartition(":")[0])
            quota = (principal.quota if principal else Quota()).within(self.access.quota)
            share.admit(quota, size)
        except MaiaError as error:
            client = error.metadata.get("client") or (names[0] if names else "")
            log.warning("refused", reason=error.reason, client=client, peer=context.peer(), method=self.method)
            raise
        if name:
            _CLIENT.set(name)
            structlog.contextvars.bind_contextvars(client=name)
        share.calls += 1
        try:
            yield
        finally:
            share.calls -= 1

    def _check_certificate(self, names: list[str]) -> None:
        allowed = self.access.certificates
        if allowed is None or not allowed.isdisjoint(names):
            return
        name = names[0] if names else "a client without a name"
        raise PermissionRefusedError(
            f"the certificate of {name} may not call here, only that of {', '.join(sorted(allowed))}; whoever runs the "
            f"server can allow it with --clients",
            reason="CLIENT_NOT_ALLOWED",
            metadata={"client": name},
        )

    def _identified(self, names: list[str]) -> tuple[str, Principal | None]:
        if self.access.tokens is None:
            return (names[0] if names else ""), None
        return self.access.tokens.identify(self.authorization, scope_of(self.method))


@dataclass(slots=True)
class _Share:
    """What one client takes of the server."""

    calls: int = 0
    saved: float = math.inf
    since: float = field(default_factory=time.monotonic)

    def admit(self, quota: Quota, size: int) -> None:
        if quota.request_bytes and size > quota.request_bytes:
            raise InvalidRequestError(
                f"a request of {size} bytes; at most {quota.request_bytes} are accepted from this client",
                reason="REQUEST_TOO_LARGE",
                metadata={"limit": str(quota.request_bytes)},
            )
        if quota.concurrent and self.calls >= quota.concurrent:
            raise OverloadedError(
                f"{self.calls} calls of this client are being answered, as many as may be; ask again in "
                f"{_RETRY_AFTER_S:g} s",
                reason="CLIENT_TOO_BUSY",
                retry_after_s=_RETRY_AFTER_S,
            )
        if quota.requests_per_s:
            self._spend(quota.requests_per_s)

    def _spend(self, rate: float) -> None:
        now = time.monotonic()
        self.saved = min(max(rate, 1.0), self.saved + (now - self.since) * rate)
        self.since = now
        if self.saved < 1:
            wait_s = (1 - self.saved) / rate
            raise OverloadedError(
                f"more than {rate:g} calls a second of this client; ask again in {wait_s:.2f} s",
                reason="CLIENT_TOO_FAST",
                retry_after_s=wait_s,
            )
        self.saved -= 1


class _Shares:
    """Those of all clients."""

    def __init__(self) -> None:
        self._shares: OrderedDict[str, _Share] = OrderedDict()

    def of(self, client: str) -> _Share:
        share = self._shares.setdefault(client, _Share())
        self._shares.move_to_end(client)
        if len(self._shares) > _REMEMBERED:
            oldest = next(iter(self._shares))
            if not self._shares[oldest].calls:
                del self._shares[oldest]
        return share


def _admitting(behaviour: _Behaviour, call: _Call, read: Callable[[bytes], object] | None) -> _Behaviour:
    # gRPC asks a handler whether it is an async generator, so the wrapper must be of the same kind.
    if inspect.isasyncgenfunction(behaviour):

        async def stream(request: Any, context: _Context) -> AsyncIterator[object]:  # noqa: ANN401
            with call.admitted(context, len(request) if read else 0):
                async for message in behaviour(_parsed(request, read), context):
                    yield message

        return stream

    async def single(request: Any, context: _Context) -> object:  # noqa: ANN401
        with call.admitted(context, len(request) if read else 0):
            return await behaviour(_parsed(request, read), context)

    return single


def _as_bytes(data: bytes) -> bytes:
    return data


def _parsed(request: Any, read: Callable[[bytes], object] | None) -> object:  # noqa: ANN401  # bytes, or a stream
    return request if read is None else readable(read)(request)


def _names(context: _Context) -> list[str]:
    """Return the names that a client's certificate bears, its common name first."""
    found = context.auth_context()
    names = [*found.get("x509_common_name", ()), *found.get("x509_subject_alternative_name", ())]
    return [name.decode("utf-8", "replace") for name in dict.fromkeys(names) if name]
