"""A session: one guest, its blocks one after another, its tool calls answered."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import ProtocolError, SessionError, SessionLostError
from maia.sandbox.host.broker import Broker
from maia.sandbox.host.outcomes import describe_end
from maia.sandbox.host.output import Output
from maia.sandbox.host.watch import Watch
from maia.sandbox.limits import Outcome, State, Status, Usage
from maia.sandbox.protocol.frames import encode, read_frame

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from maia.sandbox.host.guest_process import Exit, GuestProcess
    from maia.sandbox.limits import Limits

__all__ = ["MAX_SOURCE_BYTES", "Session"]

MAX_SOURCE_BYTES: Final = 1 << 20
"""Longest block."""

_MAX_MESSAGE_CHARS: Final = 20_000
"""Longest text about an end that is taken from a guest."""


class Session:
    """A guest's life. Made by `Host.open`; an async context manager that closes itself."""

    def __init__(
        self,
        *,
        guest: GuestProcess,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        output: int,
        broker: Broker,
        limits: Limits,
        on_output: Callable[[str], None] | None,
        on_close: Callable[[Session], None],
    ) -> None:
        """Take over a guest that has said it is ready.

        Args:
            guest: The process, killed by `close`.
            streams: The channel of frames.
            output: Non-blocking descriptor of what the guest prints; closed by `close`.
            broker: Answers its tool calls.
            limits: For each block.
            on_output: Called with each piece of output as it comes.
            on_close: Called once, when the session is over.
        """
        self._guest = guest
        self._reader, self._writer = streams
        self._output_fd = output
        self._broker = broker
        self._limits = limits
        self._on_output = on_output
        self._on_close = on_close
        self._blocks = 0
        self._watch: Watch | None = None
        self._over: SessionError | None = None
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether another block can be run: not closed, not lost, not broken."""
        return self._over is None

    @property
    def pid(self) -> int:
        """The guest's process, in the pid namespace of the host."""
        return self._guest.pid

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(self, code: str) -> Outcome:
        """Run one block; variables of earlier blocks are there.

        Args:
            code: Python source, at most MAX_SOURCE_BYTES of UTF-8.

        Returns:
            How it ended. If its state is LOST, the session is over.

        Raises:
            TypeError, ValueError: The code is no text, or too long; nothing was run.
            SessionLostError: An earlier block's end cost the session its variables.
            SessionError: The session is closed or runs a block already, or the guest broke the protocol just now.
            Exception: What a tool raised other than ToolError; the session is over.
        """
        source = _checked_source(code)
        if self._over is not None:
            raise self._over
        if self._watch is not None:
            raise SessionError("a block is running; a session runs one at a time")
        self._blocks += 1
        output = Output(self._limits.output_bytes, self._on_output)
        self._watch = watch = Watch(self._guest, self._limits, self._broker.give_up)
        self._broker.begin_block()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._output_fd, self._take_output, output, watch)
        try:
            self._guest.thaw()
            ended = await self._converse(pb.RunBlock(block_id=self._blocks, source=source), output, watch)
            return await self._finish(ended, output, watch)
        except ProtocolError as error:
            raise self._end(SessionError(f"the session broke the protocol and was ended: {error}")) from error
        except BaseException as error:
            self._end(SessionError(f"the session is over: its last block was broken off ({type(error).__name__})"))
            raise
        finally:
            watch.finish()
            self._watch = None
            if not self._closed:
                loop.remove_reader(self._output_fd)
            if not self.alive:
                await self.close()

    def interrupt(self) -> None:
        """Stop the running block, softly if it lets itself be stopped; without one, do nothing."""
        if self._watch is not None:
            self._watch.stop(Status.INTERRUPTED)

    async def close(self) -> None:
        """End the guest and give back what the session holds. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        self._over = self._over or SessionError("the session is closed")
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._output_fd)
        os.close(self._output_fd)
        self._guest.kill()
        self._on_close(self)
        self._writer.transport.abort()  # not close(): what a guest did not read would hold it open
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _converse(self, block: pb.RunBlock, output: Output, watch: Watch) -> pb.GuestBlockEnded | Exit:
        """Send the block and answer tool calls until it ends, by the guest's word or by its death."""
        try:
            await self._send(pb.HostFrame(run_block=block))
            while True:
                frame = await read_frame(self._reader, pb.GuestFrame)
                kind = frame.WhichOneof("kind")
                if kind == "tool_call":
                    self._catch_up(output, watch)  # what was printed before the call is told before it
                    result = await self._broker.answer(frame.tool_call, watch)
                    await self._send(pb.HostFrame(tool_result=result))
                    await asyncio.sleep(0)  # nothing above waits for a call that is refused: others have their turn
                elif kind == "block_ended" and frame.block_ended.block_id == block.block_id:
                    return frame.block_ended
                else:
                    raise ProtocolError(
                        f"a {kind} frame where a tool call or the end of block {block.block_id} belongs"
                    )
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            if self._closed and self._over is not None:
                raise self._over from error
            if isinstance(error, asyncio.IncompleteReadError) and error.partial and not watch.killed:
                raise ProtocolError("the channel ended within a frame") from error
            return await self._death()

    async def _death(self) -> Exit:
        """The channel has ended: so must the guest have, or it is made to."""
        try:
            await asyncio.wait_for(self._guest.ended.wait(), 0.5)
        except TimeoutError:
            self._guest.kill()
            return replace(await self._guest.exit(), code=None)  # our own signal says nothing about the block
        return await self._guest.exit()

    async def _finish(self, ended: pb.GuestBlockEnded | Exit, output: Output, watch: Watch) -> Outcome:
        """Turn an end into an outcome; a guest that lives is given no more CPU until the next block."""
        watch.finish()
        died = not isinstance(ended, pb.GuestBlockEnded)
        if not died:
            self._guest.freeze()
        output.drain(self._output_fd)
        if isinstance(ended, pb.GuestBlockEnded):
            cpu_s, peak = watch.cpu_s, self._guest.peak_memory_bytes()
            status, text = ended.status, ended.message[:_MAX_MESSAGE_CHARS]
            code = None
        else:
            cpu_s, peak = watch.cpu_of_life(ended.cpu_s), ended.peak_memory_bytes
            status, text, code = pb.STATUS_UNSPECIFIED, "", ended.code
            self._end(
                SessionLostError("the session's variables were lost when its last block was killed; open another")
            )
        reason = watch.reason or (Status.OUTPUT if output.exceeded and status in _DONE else None)
        final, message = describe_end(reason, status, text, died=died, exit_code=code, limits=self._limits)
        usage = Usage(
            wall_s=watch.wall_s,
            cpu_s=cpu_s,
            tool_s=watch.tool_s,
            peak_memory_bytes=peak,
            tool_calls=self._broker.calls,
            output_bytes=output.total_bytes,
        )
        state = State.LOST if died else State.KEPT
        return Outcome(status=final, message=message, output=output.text, state=state, usage=usage)

    async def _send(self, frame: pb.HostFrame) -> None:
        self._writer.write(encode(frame))
        await self._writer.drain()

    def _take_output(self, output: Output, watch: Watch) -> None:
        output.read(self._output_fd)
        if output.ended:  # a living guest can close its end too, and a descriptor at its end is always ready
            asyncio.get_running_loop().remove_reader(self._output_fd)
        if output.exceeded:
            watch.stop(Status.OUTPUT)

    def _catch_up(self, output: Output, watch: Watch) -> None:
        output.catch_up(self._output_fd)
        if output.exceeded:
            watch.stop(Status.OUTPUT)

    def _end(self, error: SessionError) -> SessionError:
        """No more blocks, for this reason. Returns the reason that stands."""
        if self._over is None:
            self._over = error
            self._guest.kill()
        return self._over


_DONE = (pb.STATUS_OK, pb.STATUS_EXCEPTION)


def _checked_source(code: object) -> str:
    if not isinstance(code, str):
        raise TypeError(f"code must be text, not {type(code).__name__}")
    try:
        size = len(code.encode())
    except UnicodeEncodeError as error:
        raise ValueError("the code holds a lone surrogate, which is no text") from error
    if size > MAX_SOURCE_BYTES:
        raise ValueError(f"{size:,} bytes of code; at most {MAX_SOURCE_BYTES:,} are allowed")
    return code
