"""Answers a session's tool calls by sending them to whoever opened it, on another machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError, ToolError
from maia.sandbox.host.answers import Clock
from maia.sandbox.host.broker import IMAGE_CALLS
from maia.sandbox.host.quotas import Quotas
from maia.sandbox.limits import Limits
from maia.wire.errors import InvalidRequestError
from maia.wire.limits import MAX_MESSAGE_BYTES

_MAX_CALL_BYTES: Final = MAX_MESSAGE_BYTES - 1024
"""Room for what stands around a call in a message."""

_STOPPING: Final = "the block is being stopped"


class RelayBroker:
    """The `Answers` of a session whose tools are elsewhere; at most one call is on its way.

    Ids toward the client count up by one for each call that is sent: calls that are refused here never get there, and a
    guest whose checkpoint goes on begins again at an earlier id.
    """

    def __init__(
        self, names: Iterable[str], limits: Limits, send: Callable[[pb.SessionResponse], Awaitable[None]]
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            names: Of the session's tools.
            limits: tool_calls, tool_bytes and images count.
            send: To the client.
        """
        self._names = frozenset(names).union(IMAGE_CALLS)
        self._quotas = Quotas(limits)
        self._send = send
        self._last_id = 0
        self._marked_id = 0
        self._sent = 0
        self._waiting: asyncio.Future[pb.ToolResult] | None = None
        self._given_up = False
        self.calls = 0

    def begin_block(self) -> None:
        """Count anew."""
        self.calls = 0
        self._given_up = False

    def give_up(self) -> None:
        """The block is to stop: no longer wait for the client, and answer later calls with that."""
        self._given_up = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(pb.ToolResult(error=_STOPPING))

    def mark(self) -> None:
        """Remember the last call's id; see `Answers.mark`."""
        self._marked_id = self._last_id

    def rewind(self) -> None:
        """Go back to the marked id; see `Answers.rewind`."""
        self._last_id = self._marked_id

    def deliver(self, result: pb.ToolResult) -> None:
        """Take the client's answer; one that comes after its call was given up is dropped.

        Raises:
            InvalidRequestError: SESSION_REQUEST_INVALID: no such call was made, or the result says nothing.
        """
        if not 1 <= result.call_id <= self._sent or result.WhichOneof("kind") is None:
            raise InvalidRequestError(
                f"a result of tool call {result.call_id}, of {self._sent} that were made; it needs a value or an error",
                reason="SESSION_REQUEST_INVALID",
            )
        if result.call_id == self._sent and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(result)

    async def answer(self, call: pb.ToolCall, watch: Clock) -> pb.ToolResult:
        """Send one call to the client and wait for its result.

        Raises:
            ProtocolError: An id out of order, or an unknown tool.
        """
        self._last_id += 1
        guest_id = call.call_id
        if guest_id != self._last_id:
            raise ProtocolError(f"tool call {guest_id} where {self._last_id} comes next")
        if call.name not in self._names:
            raise ProtocolError(f"a call of {call.name[:100]!r}, which is no tool of this session")
        self.calls += 1
        try:
            self._check(call)
            watch.tool_began()
            result = await self._relayed(call)
            if result.WhichOneof("kind") == "value":
                self._quotas.charge_result(call.name, result)
        except ToolError as error:
            result = pb.ToolResult(error=str(error))
        finally:
            watch.tool_ended()
        result.call_id = guest_id
        return result

    def _check(self, call: pb.ToolCall) -> None:
        if self._given_up:
            raise ToolError(_STOPPING)
        if call.ByteSize() > _MAX_CALL_BYTES:
            raise ToolError(
                f"{call.name}: the arguments have {call.ByteSize():,} bytes; at most {_MAX_CALL_BYTES:,} can be passed"
            )
        self._quotas.charge_call(call)

    async def _relayed(self, call: pb.ToolCall) -> pb.ToolResult:
        self._sent += 1
        call.call_id = self._sent
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._send(pb.SessionResponse(tool_call=call))
            return await self._waiting
        finally:
            self._waiting = None
