"""What a session asks of whoever answers its tool calls: a broker with the tools, or a relay to another machine."""

from __future__ import annotations

from typing import Protocol

from maia.execution.v1 import execution_pb2 as pb

__all__ = ["Answers", "Clock"]


class Clock(Protocol):
    """A block's wall clock, which stands still while the block waits for a tool."""

    def tool_began(self) -> None:
        """Stop it."""

    def tool_ended(self) -> None:
        """Let it run on."""


class Answers(Protocol):
    """Answers one session's tool calls, one after another.

    Attributes:
        calls: Tool calls of the running block, refused ones included.
    """

    calls: int

    def begin_block(self) -> None:
        """Count anew."""

    def give_up(self) -> None:
        """The block is to stop: give up the call that runs, and answer later ones with that."""

    async def answer(self, call: pb.ToolCall, watch: Clock) -> pb.ToolResult:
        """Execute one call.

        Args:
            call: From a guest, so it may be anything; taken over and possibly changed.
            watch: Stands still while the tool runs, and not while the call is read or refused.

        Raises:
            ProtocolError: An id out of order, an unknown tool, or values outside the codec's rules.
            Exception: A failure that is not the caller's; the session cannot go on.
        """

    def mark(self) -> None:
        """Remember the id of the last call: a checkpoint of the guest is taken now."""

    def rewind(self) -> None:
        """Go back to the marked id: the guest's checkpoint goes on. What counts towards quotas stays counted."""
