"""One open session and the stream that it is held by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import SandboxError
from maia.sandbox.host.session import Session
from maia.sandbox.limits import Outcome
from maia.sandbox.remote.messages import outcome_message
from maia.sandbox.remote.relay import RelayBroker
from maia.sandbox.remote.responses import Responses
from maia.sandbox.remote.statuses import invalid, to_wire


class Conversation:
    """Takes requests while a block runs, for there may be results and an interrupt among them."""

    def __init__(
        self, session: Session, relay: RelayBroker, responses: Responses, on_end: Callable[[Outcome], None]
    ) -> None:
        """Take an open session; whoever opened it closes it. `on_end` is told how each block ended."""
        self._on_end = on_end
        self._session = session
        self._relay = relay
        self._responses = responses
        self._blocks: asyncio.Queue[pb.RunBlock] = asyncio.Queue()
        self._begun = 0
        self._ended = 0

    async def hold(self, requests: AsyncIterator[pb.SessionRequest]) -> None:
        """Serve until the client ends the stream or closes the session, or its variables are lost.

        Raises:
            InvalidRequestError: SESSION_REQUEST_INVALID.
            AbortedError: SESSION_BROKEN.
        """
        reading = asyncio.ensure_future(self._read(requests))
        tasks = (reading, asyncio.ensure_future(self._run_blocks()), asyncio.ensure_future(self._responses.pump()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            # Whatever a block comes to after the client has gone is nobody's concern.
            (reading if reading in done else next(iter(done))).result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, requests: AsyncIterator[pb.SessionRequest]) -> None:
        async for request in requests:
            kind = request.WhichOneof("kind")
            if kind == "run_block":
                self._begin(request.run_block)
            elif kind == "tool_result":
                self._relay.deliver(request.tool_result)
            elif kind == "interrupt":
                self._session.interrupt()
            elif kind == "close":
                return
            else:
                raise invalid(f"a request of kind {kind} where a block, a result, an interrupt or the end belongs")

    def _begin(self, block: pb.RunBlock) -> None:
        if self._begun != self._ended:
            raise invalid(f"block {block.block_id} while block {self._begun} runs; a session runs one at a time")
        if block.block_id != self._begun + 1:
            raise invalid(f"block {block.block_id} where {self._begun + 1} comes next")
        self._begun += 1
        self._blocks.put_nowait(block)

    async def _run_blocks(self) -> None:
        while self._session.alive:
            block = await self._blocks.get()
            self._responses.block_id = block.block_id
            try:
                outcome = await self._session.run(block.source)
            except (TypeError, ValueError) as error:
                raise invalid(error) from error
            except SandboxError as error:
                raise to_wire(error) from error
            self._ended += 1
            self._on_end(outcome)
            await self._responses.end_block(outcome_message(outcome))
