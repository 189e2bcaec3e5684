"""What goes back to a client, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from maia.execution.v1 import execution_pb2 as pb

_GATHER_S: Final = 0.005
"""How long output waits for more of it: nobody reads faster, and most blocks end meanwhile."""


class Responses:
    """Sends responses one after another; what is printed meanwhile is gathered into one message."""

    def __init__(self, write: Callable[[pb.SessionResponse], Awaitable[None]]) -> None:
        """Nothing is sent yet.

        Args:
            write: Sends one message; returns when there is room for the next.
        """
        self._write = write
        self._free = asyncio.Lock()
        self._printed: list[str] = []
        self._more = asyncio.Event()
        self.block_id = 0

    def printed(self, text: str) -> None:
        """Take a piece of the running block's output; it is sent as soon as the client can take it."""
        self._printed.append(text)
        self._more.set()

    async def send(self, response: pb.SessionResponse) -> None:
        """Send a response after all that was printed before it."""
        async with self._free:
            await self._send_printed()
            await self._write(response)

    async def end_block(self, outcome: pb.Outcome) -> None:
        """Send how the block ended. What it printed and nobody was sent yet is in its outcome: one message less."""
        async with self._free:
            self._printed.clear()
            ended = pb.BlockEnded(block_id=self.block_id, outcome=outcome)
            await self._write(pb.SessionResponse(block_ended=ended))

    async def pump(self) -> None:
        """Send output as it comes, for ever."""
        while True:
            await self._more.wait()
            await asyncio.sleep(_GATHER_S)
            async with self._free:
                await self._send_printed()

    async def _send_printed(self) -> None:
        self._more.clear()
        if self._printed:
            text = "".join(self._printed)
            self._printed.clear()
            await self._write(pb.SessionResponse(output=pb.BlockOutput(block_id=self.block_id, text=text)))
