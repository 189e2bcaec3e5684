"""Who calls, whether they may, and how much of a server one client may take: checked before a request is read.

A client is named by its token, else by its certificate, else by where it calls from. Whether a server is alive may be
asked with any certificate of its CA, and without a token: probes have none.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import grpc
import structlog

from maia.wire.calls import kind_of
from maia.wire.errors import MaiaError, OverloadedError, PermissionRefusedError
from maia.wire.limits import REQUESTS_AT_ONCE
from maia.wire.requests import Held, Read, only_request, parsed
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
    """Refuses who may not call before any of their request is read, then reads it.

    Args:
        access: Who may call.
        most_bytes: Of the requests that are being answered or wait at the same time; more are refused. One alone may
            have more.
    """

    def __init__(self, access: Access, most_bytes: int) -> None:
        self._access = access
        self._shares = _Shares()
        self._held = Held(most_bytes)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Wrap the handler of one call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        sent = [value for key, value in handler_call_details.invocation_metadata or () if key == "authorization"]
        call = _Call(self._access, self._shares, self._held, handler_call_details.method, tuple(sent))
        kind = kind_of(handler)
        request, _, response = kind.partition("_")
        one = handler.request_deserializer if request == "unary" else None
        return handler._replace(
            request_streaming=True,
            request_deserializer=partial(parsed, handler.request_deserializer) if one is None else _as_bytes,
            **{kind: None},
        )._replace(**{f"stream_{response}": _admitting(getattr(handler, kind), call, one)})


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that asks to be answered."""

    access: Access
    shares: _Shares
    held: Held
    method: str
    authorization: tuple[object, ...] = field(repr=False)

    @asynccontextmanager
    async def request(
        self, requests: AsyncIterator[Any], context: _Context, read: Read | None
    ) -> AsyncIterator[object]:
        """Admit a call, and give what its handler takes: its request, or its stream.

        Args:
            requests: What the client sends.
            context: Of the call.
            read: Reads the one request; None for a stream.

        Raises:
            MaiaError: As `_admit`, `only_request`, `Quota.check_size`, `Held.holding` and `parsed`.
        """
        names = _names(context)
        if self.method.startswith(_OPEN):
            # However full the server is, and whoever else asks.
            share = self.shares.of(f"health {names[0] if names else _machine(context)}")
            yield requests if read is None else parsed(read, await only_request(requests, share.turns))
            return
        with self._refusing(names, context):
            share, quota = self._admit(names, context)
        share.calls += 1
        try:
            if read is None:
                yield self._while_admitted(requests, names, context)
                return
            data = await only_request(requests, share.turns)
            with self._refusing(names, context):
                quota.check_size(len(data))
            with self.held.holding(len(data)):
                yield parsed(read, data)
        finally:
            share.calls -= 1

    def _admit(self, names: list[str], context: _Context) -> tuple[_Share, Quota]:
        """Return what a client takes and may take.

        Raises:
            UnauthenticatedError, PermissionRefusedError: See `TokenFile.identify`; CLIENT_NOT_ALLOWED.
            OverloadedError: CLIENT_TOO_FAST or CLIENT_TOO_BUSY.
        """
        self._check_certificate(names)
        name, principal = self._identified(names)
        if name:
            _CLIENT.set(name)
            structlog.contextvars.bind_contextvars(client=name)
        # Without any proof of who they are, clients are told apart by their machine.
        share = self.shares.of(name or _machine(context))
        quota = (principal.quota if principal else Quota()).within(self.access.quota)
        share.admit(quota)
        return share, quota

    async def _while_admitted(
        self, requests: AsyncIterator[object], names: list[str], context: _Context
    ) -> AsyncIterator[object]:
        """Pass on a stream, which may last for hours, as long as its token is good."""
        async for request in requests:
            with self._refusing(names, context):
                self._identified(names)
            yield request

    @contextmanager
    def _refusing(self, names: list[str], context: _Context) -> Iterator[None]:
        try:
            yield
        except MaiaError as error:
            client = error.metadata.get("client") or authenticated_client() or (names[0] if names else "")
            log.warning("refused", reason=error.reason, client=client, peer=context.peer(), method=self.method)
            raise

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
        # Of two, a proxy and we might each believe another.
        one = self.authorization[0] if len(self.authorization) == 1 else None
        return self.access.tokens.identify(one, scope_of(self.method))


@dataclass(slots=True)
class _Share:
    """What one client takes of the server."""

    calls: int = 0
    saved: float = math.inf
    since: float = field(default_factory=time.monotonic)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(REQUESTS_AT_ONCE))

    def admit(self, quota: Quota) -> None:
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
            # Not simply the oldest: a session that lasts for hours would keep all that came after it.
            idle = next((name for name, one in self._shares.items() if not one.calls and name != client), None)
            if idle is not None:
                del self._shares[idle]
        return share


def _admitting(behaviour: _Behaviour, call: _Call, read: Read | None) -> _Behaviour:
    # gRPC asks a handler whether it is an async generator, so the wrapper must be of the same kind.
    if inspect.isasyncgenfunction(behaviour):

        async def stream(requests: Any, context: _Context) -> AsyncIterator[object]:  # noqa: ANN401
            async with call.request(requests, context, read) as request:
                async for message in behaviour(request, context):
                    yield message

        return stream

    async def single(requests: Any, context: _Context) -> object:  # noqa: ANN401
        async with call.request(requests, context, read) as request:
            return await behaviour(request, context)

    return single


def _as_bytes(data: bytes) -> bytes:
    return data


def _machine(context: _Context) -> str:
    return str(context.peer()).rpartition(":")[0]


def _names(context: _Context) -> list[str]:
    """Return the names that a client's certificate bears, its common name first."""
    found = context.auth_context()
    names = [*found.get("x509_common_name", ()), *found.get("x509_subject_alternative_name", ())]
    return [name.decode("utf-8", "replace") for name in dict.fromkeys(names) if name]
