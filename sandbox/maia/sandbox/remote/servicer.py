"""The gRPC half of a sandbox host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from typing_extensions import override

from maia.execution.v1 import execution_pb2 as pb
from maia.execution.v1 import execution_pb2_grpc
from maia.sandbox.errors import ProtocolError, SandboxError
from maia.sandbox.host.host import Host
from maia.sandbox.host.session import Session
from maia.sandbox.remote.conversation import Conversation
from maia.sandbox.remote.messages import feature_messages
from maia.sandbox.remote.metrics import SandboxMetrics
from maia.sandbox.remote.opening import Opening
from maia.sandbox.remote.relay import RelayBroker
from maia.sandbox.remote.responses import Responses
from maia.sandbox.remote.statuses import full, invalid, to_wire
from maia.wire.server import Hosted

_OPEN_S: Final = 30.0
"""How long a stream may take to say what it wants."""

_Context = grpc.aio.ServicerContext


class ExecutionServicer(execution_pb2_grpc.ExecutionServiceServicer):
    """Hosts sessions for many clients, each held by a stream of its own."""

    def __init__(self, host: Host, session_limit: int, metrics: SandboxMetrics | None = None) -> None:
        self._host = host
        self._metrics = metrics or SandboxMetrics()
        self._session_limit = session_limit
        self._sessions = 0

    @override
    async def GetHost(self, request: pb.GetHostRequest, context: _Context[Any, Any]) -> pb.GetHostResponse:
        return pb.GetHostResponse(
            tier=self._host.tier,
            features=feature_messages(self._host.features),
            sessions=self._sessions,
            session_limit=self._session_limit,
        )

    # Not an async generator: requests are to be read while responses are written.
    @override
    async def Session(  # type: ignore[override]  # the generated stub knows generators only
        self, requests: AsyncIterator[pb.SessionRequest], context: _Context[pb.SessionRequest, pb.SessionResponse]
    ) -> None:
        opening = await _opening(requests)
        responses = Responses(context.write)
        relay = RelayBroker(opening.names, opening.limits, responses.send)
        with self._seat():
            session = await _open(self._host, opening, relay, responses)
            self._metrics.opened.inc()
            try:
                opened = pb.SessionOpened(tier=self._host.tier, features=feature_messages(self._host.features))
                await responses.send(pb.SessionResponse(opened=opened))
                await Conversation(session, relay, responses, self._metrics.ended).hold(requests)
            finally:
                await session.close()

    @contextmanager
    def _seat(self) -> Iterator[None]:
        """Hold one of the sessions that may be open.

        Raises:
            OverloadedError: SESSIONS_FULL.
        """
        if self._sessions >= self._session_limit:
            self._metrics.refused.inc()
            raise full(self._session_limit)
        self._sessions += 1
        self._metrics.sessions.set(self._sessions)
        try:
            yield
        finally:
            self._sessions -= 1
            self._metrics.sessions.set(self._sessions)


async def _opening(requests: AsyncIterator[pb.SessionRequest]) -> Opening:
    """Read the first request.

    Raises:
        InvalidRequestError: SESSION_REQUEST_INVALID.
    """
    try:
        async with asyncio.timeout(_OPEN_S):
            first = await anext(requests, pb.SessionRequest())
    except TimeoutError:
        raise invalid(f"no request to open within {_OPEN_S:g} s") from None
    if first.WhichOneof("kind") != "open":
        raise invalid("the first request of a session must be `open`")
    try:
        return Opening.of(first.open)
    except (ValueError, ProtocolError) as error:
        raise invalid(error) from error


async def _open(host: Host, opening: Opening, relay: RelayBroker, responses: Responses) -> Session:
    try:
        return await host.open_with(opening.request, relay, opening.limits, responses.printed)
    except SandboxError as error:
        raise to_wire(error) from error


def execution_service(host: Host, session_limit: int, metrics: SandboxMetrics | None = None) -> Hosted:
    """Return the service for a server to host.

    Args:
        host: Open, and open until the server has ended.
        session_limit: Most sessions at once.
        metrics: Are told.
    """
    return Hosted(
        pb.DESCRIPTOR.services_by_name["ExecutionService"],
        execution_pb2_grpc.add_ExecutionServiceServicer_to_server,
        ExecutionServicer(host, session_limit, metrics),
    )
