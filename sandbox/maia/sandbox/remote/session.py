"""A session at a sandbox host on another machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TypeAlias

import grpc

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import HostGoneError, ProtocolError, SessionError, SessionLostError
from maia.sandbox.host.answers import Answers
from maia.sandbox.host.tiers.tier import Feature
from maia.sandbox.limits import Outcome, State
from maia.sandbox.protocol.source import checked_source
from maia.sandbox.remote.messages import features_of, outcome_of
from maia.sandbox.remote.statuses import session_error

_CLOSE_S: Final = 5.0
"""How long the host may take to end a session that was asked to."""

_Call: TypeAlias = "grpc.aio.StreamStreamCall[pb.SessionRequest, pb.SessionResponse]"


class _NoClock:
    """The host measures a block, not we."""

    def tool_began(self) -> None:
        """Nothing to stop."""

    def tool_ended(self) -> None:
        """Nothing to let run on."""


class RemoteSession:
    """What `Session` is, held by a stream. Made by `RemoteHost.open`; an async context manager that closes itself."""

    def __init__(
        self,
        *,
        call: _Call,
        opened: pb.SessionOpened,
        broker: Answers,
        on_output: Callable[[str], None] | None,
        on_close: Callable[[RemoteSession], None],
        address: str,
    ) -> None:
        """Take over a stream whose session is open.

        Args:
            call: Ended by `close`.
            opened: What the host said.
            broker: Answers the guest's tool calls, here.
            on_output: Called on the event loop with each piece of output as it comes.
            on_close: Called once, when the session is over.
            address: Of the host, for messages.
        """
        self.tier = opened.tier
        self.features: tuple[Feature, ...] = features_of(opened.features)
        self._call = call
        self._broker = broker
        self._on_output = on_output
        self._on_close = on_close
        self._address = address
        self._blocks = 0
        self._heard = 0
        self._block: asyncio.Future[Outcome] | None = None
        self._tool: asyncio.Task[None] | None = None
        self._over: SessionError | None = None
        self._closed = False
        self._sending = asyncio.Lock()
        self._interrupts: set[asyncio.Task[None]] = set()
        self._listening = asyncio.ensure_future(self._listen())

    @property
    def alive(self) -> bool:
        """Whether another block can be run: not closed, not lost, not broken, the host still there."""
        return self._over is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, code: str) -> Outcome:
        """Run one block; see `Session.run`.

        Raises:
            TypeError, ValueError: The code is no text, or too long; nothing was sent.
            SessionLostError: An earlier block's end cost the session its variables.
            SessionError: The session is closed or runs a block already, the guest broke the protocol, or the host is
                out of reach.
            Exception: What a tool raised other than ToolError; the session is over.
        """
        source = checked_source(code)
        if self._over is not None:
            raise self._over
        if self._block is not None:
            raise SessionError("a block is running; a session runs one at a time")
        self._blocks += 1
        block: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._block = block
        self._heard = 0
        self._broker.begin_block()
        try:
            run_block = pb.RunBlock(block_id=self._blocks, source=source)
            await self._send(pb.SessionRequest(run_block=run_block))
            return await block
        except BaseException as error:
            self._end(SessionError(f"the session is over: its last block was broken off ({type(error).__name__})"))
            raise
        finally:
            await self._give_up_tool()
            self._block = None
            if not self.alive:
                await self.close()

    def interrupt(self) -> None:
        """Stop the running block, softly if it lets itself be stopped; without one, do nothing."""
        if self._block is not None and not self._block.done():
            task = asyncio.ensure_future(self._send(pb.SessionRequest(interrupt=pb.Interrupt())))
            self._interrupts.add(task)
            task.add_done_callback(self._interrupts.discard)
            self._broker.give_up()

    async def close(self) -> None:
        """End the session there and give back what it holds. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._end(SessionError("the session is closed"))
        try:
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await self._call.done_writing()
            await asyncio.wait([self._listening], timeout=_CLOSE_S)
        finally:
            self._call.cancel()
            self._listening.cancel()
            await asyncio.gather(self._listening, *self._interrupts, return_exceptions=True)
            self._on_close(self)

    async def _send(self, request: pb.SessionRequest) -> None:
        """Send a request; that the stream has ended is told by what is read from it."""
        async with self._sending:
            with contextlib.suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
                await self._call.write(request)

    async def _listen(self) -> None:
        """Take what comes until the stream ends."""
        try:
            while isinstance(response := await self._call.read(), pb.SessionResponse):
                self._take(response)
            self._fail(HostGoneError(f"the sandbox host at {self._address} ended the session"))
        except grpc.aio.AioRpcError as error:
            self._fail(session_error(error, self._address))
        except Exception as error:  # noqa: BLE001  whatever `on_output` raises leaves `run`
            self._fail(error)

    def _take(self, response: pb.SessionResponse) -> None:
        kind = response.WhichOneof("kind")
        block = self._block
        if block is None or block.done():
            raise HostGoneError(f"the sandbox host at {self._address} broke the protocol: {kind} without a block")
        if kind == "output":
            self._hear(response.output.text)
        elif kind == "tool_call":
            self._tool = asyncio.ensure_future(self._answer(response.tool_call, self._tool))
        elif kind == "block_ended" and response.block_ended.block_id == self._blocks:
            outcome = outcome_of(response.block_ended.outcome)
            self._hear(outcome.output[self._heard :])  # what was printed too late to be sent by itself
            if outcome.state is State.LOST:
                self._over = SessionLostError(
                    "the session's variables were lost when its last block was killed; open another"
                )
            block.set_result(outcome)
        else:
            raise HostGoneError(f"the sandbox host at {self._address} broke the protocol: {kind} out of order")

    def _hear(self, text: str) -> None:
        self._heard += len(text)
        if text and self._on_output is not None:
            self._on_output(text)

    async def _answer(self, call: pb.ToolCall, before: asyncio.Task[None] | None) -> None:
        """Execute one tool call and send its result."""
        if before is not None:  # the host gave it up, or would not have sent another
            await asyncio.wait([before])
        try:
            result = await self._broker.answer(call, _NoClock())
        except ProtocolError as error:
            self._fail(SessionError(f"the session broke the protocol and was ended: {error}"))
        except Exception as error:  # noqa: BLE001  a tool's failure leaves `run`
            self._fail(error)
        else:
            if self._block is not None and not self._block.done():
                await self._send(pb.SessionRequest(tool_result=result))

    async def _give_up_tool(self) -> None:
        """The block has ended: nobody waits for its tool call any more."""
        task, self._tool = self._tool, None
        if task is not None and not task.done():
            self._broker.give_up()
            await asyncio.wait([task])

    def _fail(self, error: Exception) -> None:
        """The session cannot go on: the running block ends with this error, later ones with one that says so."""
        if self._block is not None and not self._block.done():
            self._block.set_exception(error)
        if isinstance(error, SessionError):
            self._end(error)

    def _end(self, error: SessionError) -> None:
        """No more blocks, for this reason, unless there is one already."""
        self._over = self._over or error
        if self._block is not None and not self._block.done():
            self._block.set_exception(self._over)
