"""A session: one guest, its blocks one after another, its tool calls answered."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from maia.execution.v1 import execution_pb2 as pb
from maia.sandbox.errors import HostGoneError, ProtocolError, SandboxError, SessionError, SessionLostError
from maia.sandbox.host.channel import ChannelEndedError
from maia.sandbox.host.outcomes import describe_end
from maia.sandbox.host.output import Output
from maia.sandbox.host.watch import Watch
from maia.sandbox.limits import Outcome, State, Status, Usage
from maia.sandbox.protocol.source import checked_source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from maia.sandbox.host.answers import Answers
    from maia.sandbox.host.guest import Exit, Guest
    from maia.sandbox.limits import Limits

__all__ = ["Session"]

_MAX_MESSAGE_CHARS: Final = 20_000
"""Longest text about an end that is taken from a guest."""

_DEATH_S: Final = 0.5
"""How long a guest that has closed its channel may take to end."""

_CHECKPOINT_CPU_S: Final = 2.0
_CHECKPOINT_S: Final = 10.0
"""How long a fork may take: a second copies the page tables of some hundred gigabytes, and many may fork at once."""


class Session:
    """A guest's life. Made by `Host.open`; an async context manager that closes itself."""

    def __init__(
        self,
        *,
        guest: Guest,
        answers: Answers,
        limits: Limits,
        on_output: Callable[[str], None] | None,
        on_close: Callable[[Session], None],
        renew: Callable[[], Awaitable[Guest]],
    ) -> None:
        """Take over a guest that has said it is ready and is halted.

        Args:
            guest: Closed by `close`.
            renew: Makes another guest like it: what a session has before its first block needs no checkpoint.
            answers: Answers its tool calls.
            limits: For each block.
            on_output: Called with each piece of output as it comes.
            on_close: Called once, when the session is over.
        """
        self._guest = guest
        self._answers = answers
        self._limits = limits
        self._on_output = on_output
        self._on_close = on_close
        self._renew = renew
        self._fresh = True
        self._blocks = 0
        self._watch: Watch | None = None
        self._over: SessionError | None = None
        self._closed = False
        self._busy = False
        self._interrupted_early = False
        self._checkpointing: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether another block can be run: not closed, not lost, not broken."""
        return self._over is None

    @property
    def pid(self) -> int | None:
        """The guest's process in the pid namespace of the host; None where the tier does not show it."""
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
            How it ended. If its state is LOST, the session is over; if it is RESTORED, the variables are those from
            before this block; files in /tmp may be as the block left them.

        Raises:
            TypeError, ValueError: The code is no text, or too long; nothing was run.
            HostGoneError: What holds the sessions on this machine was ended from outside, no doing of the block; open
                another session.
            SessionLostError: An earlier block's end cost the session its variables.
            SessionError: The session is closed or runs a block already, or the guest broke the protocol just now.
            Exception: What a tool raised other than ToolError; the session is over.
        """
        source = checked_source(code)
        self._check_free()
        self._blocks += 1
        block = pb.RunBlock(block_id=self._blocks, source=source)
        output = Output(self._limits.output_bytes, self._on_output)
        watch: Watch | None = None
        self._busy, self._interrupted_early = True, False
        try:
            await self._until_checkpointed()
            if self._over is not None:  # closed meanwhile; its descriptors may be another's by now
                raise self._over
            if self._interrupted_early:
                return _NOT_BEGUN
            self._watch = watch = Watch(self._guest, self._limits, self._answers.give_up)
            self._answers.begin_block()
            self._guest.watch_output(partial(self._take_output, output, watch))
            self._guest.go()
            ended = await self._converse(block, output, watch)
            return await self._finish(ended, output, watch)
        except ProtocolError as error:
            raise self._end(SessionError(f"the session broke the protocol and was ended: {error}")) from error
        except BaseException as error:
            self._end(SessionError(f"the session is over: its last block was broken off ({type(error).__name__})"))
            raise
        finally:
            if watch is not None:
                watch.finish()
            self._watch = None
            self._busy = False
            self._guest.unwatch_output()
            if not self.alive:
                await self.close()

    def interrupt(self) -> None:
        """Stop the running block, softly if it lets itself be stopped; without one, do nothing."""
        self._interrupted_early = self._busy
        if self._watch is not None:
            self._watch.stop(Status.INTERRUPTED)

    async def close(self) -> None:
        """End the guest and give back what the session holds. Closing again does nothing."""
        self._shut()
        task, self._checkpointing = self._checkpointing, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._guest.channel.closed()

    def _shut(self) -> None:
        """End all processes and give everything back; the loop takes a moment more to let go of it."""
        if not self._closed:
            self._closed = True
            self._over = self._over or SessionError("the session is closed")
            self._guest.close()
            self._on_close(self)

    # One block

    async def _converse(self, block: pb.RunBlock, output: Output, watch: Watch) -> pb.GuestBlockEnded | Exit:
        """Send the block and answer tool calls until it ends, by the guest's word or by its death."""
        channel = self._guest.channel
        try:
            await channel.send(pb.HostFrame(run_block=block))
            while True:
                frame = await channel.receive()
                kind = frame.WhichOneof("kind")
                if kind == "tool_call":
                    self._catch_up(output, watch)  # what was printed before the call is told before it
                    result = await self._answers.answer(frame.tool_call, watch)
                    await channel.send(pb.HostFrame(tool_result=result))
                    await asyncio.sleep(0)  # nothing above waits for a call that is refused: others have their turn
                elif kind == "block_ended" and frame.block_ended.block_id == block.block_id:
                    return frame.block_ended
                else:
                    raise ProtocolError(
                        f"a {kind} frame where a tool call or the end of block {block.block_id} belongs"
                    )
        except ChannelEndedError as error:
            if self._closed and self._over is not None:
                raise self._over from error
            how = await self._death()
            if error.within_frame and not watch.killed and how.code != -signal.SIGKILL:
                raise ProtocolError("the channel ended within a frame") from error
            return how

    async def _death(self) -> Exit:
        """The channel has ended: so must the guest have, or it is made to.

        Raises:
            HostGoneError: It ended with all others.
        """
        try:
            async with asyncio.timeout(_DEATH_S):
                how = await self._guest.exit()
        except TimeoutError:
            self._guest.kill()
            how = replace(await self._guest.exit(), code=None)  # our own signal says nothing about the block
        if how.code in (None, -signal.SIGKILL):  # as all end when what holds them does
            await self._check_held()
            if self._closed:  # meanwhile; its descriptors may be another's by now
                self._check_alive()
        return how

    async def _check_held(self) -> None:
        if await self._guest.has_gone_with_all():
            raise self._end(
                HostGoneError(
                    "the session ended with all others on this machine, for what holds them was ended from outside, as "
                    "the kernel does when memory runs out (`dmesg` tells); open another"
                )
            )

    async def _finish(self, ended: pb.GuestBlockEnded | Exit, output: Output, watch: Watch) -> Outcome:
        """Turn an end into an outcome; a guest that lives is given no more CPU until the next block."""
        watch.finish()
        wall_s, tool_s = watch.wall_s, watch.tool_s
        if isinstance(ended, pb.GuestBlockEnded):
            try:
                await self._guest.halt()
            except SessionError:  # it ended after its last word
                ended = await self._death()
        usage = Usage(
            wall_s=wall_s,
            cpu_s=watch.cpu_s,
            tool_s=tool_s,
            peak_memory_bytes=self._guest.peak_memory_bytes,
            tool_calls=self._answers.calls,
        )
        output.drain(self._guest.output)
        if isinstance(ended, pb.GuestBlockEnded):
            state, status, text, code = State.KEPT, ended.status, ended.message[:_MAX_MESSAGE_CHARS], None
            self._fresh = False
            self._leave_checkpoint()
        else:
            state, status, text, code = await self._after_death(ended), pb.STATUS_UNSPECIFIED, "", ended.code
        reason = watch.reason or (Status.OUTPUT if output.exceeded and status in _DONE else None)
        final, message = describe_end(reason, status, text, state=state, exit_code=code, limits=self._limits)
        usage = replace(usage, output_bytes=output.total_bytes)
        return Outcome(status=final, message=message, output=output.text, state=state, usage=usage)

    async def _after_death(self, how: Exit) -> State:
        """Go on from what there was before the block, if that can be had."""
        try:
            if how.checkpoint:
                await self._guest.restore()
                self._answers.rewind()
                self._leave_checkpoint()
                return State.RESTORED
            if self._fresh and self._over is None:
                self._guest.close()
                fresh = await self._renew()
                if self._closed:  # meanwhile
                    fresh.close()
                    self._check_alive()
                self._guest = fresh
                self._answers.rewind()
                return State.RESTORED
        except (SandboxError, ChannelEndedError, TimeoutError):  # as if there had been nothing to go on from
            await self._check_held()
        self._end(SessionLostError("the session's variables were lost when its last block was killed; open another"))
        return State.LOST

    # Checkpoints

    def _leave_checkpoint(self) -> None:
        """Have the guest leave a copy of itself behind, while nobody waits for it."""
        if self._guest.in_force.checkpoints:
            self._checkpointing = asyncio.ensure_future(self._checkpoint())

    async def _checkpoint(self) -> None:
        """Guest code may run meanwhile, and no block's clock: what it does wrong now ends the session at once."""
        try:
            async with asyncio.timeout(_CHECKPOINT_S):
                await self._be_checkpointed()
        except (ChannelEndedError, SessionError):
            return  # it has ended, which the next block finds out
        except TimeoutError:
            self._end(SessionError(f"the session left no checkpoint within {_CHECKPOINT_S:g} s and was ended"))
        except SandboxError as error:
            self._end(SessionError(f"the session broke the protocol and was ended: {error}"))
        if self._over is not None:
            self._shut()

    async def _be_checkpointed(self) -> None:
        cpu_before = self._guest.cpu_s
        answer = self._guest.allow_checkpoint()
        self._guest.go()
        await self._guest.channel.send(pb.HostFrame(checkpoint=pb.Checkpoint()))
        frame = await self._guest.channel.receive()
        if frame.WhichOneof("kind") != "checkpointed":
            raise ProtocolError(f"a {frame.WhichOneof('kind')} frame where the word of a checkpoint belongs")
        if frame.checkpointed.made:
            await self._guest.checkpointed(answer)
        self._guest.forbid_checkpoint()
        self._answers.mark()
        await self._guest.halt()
        if self._guest.cpu_s - cpu_before > _CHECKPOINT_CPU_S:
            raise ProtocolError(f"a checkpoint that took more than {_CHECKPOINT_CPU_S:g} s of CPU time")

    async def _until_checkpointed(self) -> None:
        """Wait for the checkpoint under way. A guest that has ended meanwhile is found out by the block.

        Raises:
            SessionError: The session was ended over it.
        """
        if self._checkpointing is not None:
            if not self._checkpointing.done():
                await asyncio.wait([self._checkpointing])  # closing the session cancels it, and nobody else
            self._checkpointing = None
            self._check_alive()

    def _check_alive(self) -> None:
        if self._over is not None:
            raise self._over

    def _check_free(self) -> None:
        self._check_alive()
        if self._busy:
            raise SessionError("a block is running; a session runs one at a time")

    def _take_output(self, output: Output, watch: Watch) -> None:
        output.read(self._guest.output)
        if output.ended:  # a living guest can close its end too, and a descriptor at its end is always ready
            self._guest.unwatch_output()
        if output.exceeded:
            watch.stop(Status.OUTPUT)

    def _catch_up(self, output: Output, watch: Watch) -> None:
        output.catch_up(self._guest.output)
        if output.exceeded:
            watch.stop(Status.OUTPUT)

    def _end(self, error: SessionError) -> SessionError:
        """No more blocks, for this reason. Returns the reason that stands."""
        if self._over is None:
            self._over = error
            self._guest.kill()
        return self._over


_DONE = (pb.STATUS_OK, pb.STATUS_EXCEPTION)
_NOT_BEGUN: Final = Outcome(
    status=Status.INTERRUPTED,
    message="The block was interrupted from outside before it began.",
    output="",
    state=State.KEPT,
    usage=Usage(),
)
