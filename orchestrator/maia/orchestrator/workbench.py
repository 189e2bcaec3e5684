"""Where the agent's blocks run: one sandbox session per unit, opened anew when a block cost the last one its life.

A session that ended through no fault of its blocks, with the process or the host that held it, is built again: its
blocks run once more, their calls are answered by the journal, and what they print is known already. Hash seed and
random seeds are those of before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import structlog

from maia.orchestrator.conversation import Part, Text
from maia.orchestrator.errors import JournalError, SandboxFailedError
from maia.orchestrator.events import BlockEnded, BlockOutput, BlockStarted, Displayed
from maia.orchestrator.protocols import Shown
from maia.orchestrator.record import Record, Rerun
from maia.orchestrator.tape import RecordedBlock
from maia.sandbox import (
    HostGoneError,
    Outcome,
    RemoteSession,
    SandboxError,
    Session,
    SessionError,
    SessionsFullError,
    State,
    Status,
)
from maia.wire import tracing

log = structlog.stdlib.get_logger("maia.workbench")

MAX_SHOWN_CHARS: Final = 20_000
"""Longest run of output that a backbone is shown; the journal keeps all of it."""

MAX_BLOCK_CHARS: Final = 100_000
MAX_BLOCK_PICTURES: Final = 60
"""Most that a backbone is shown of one block, output and displays together; the journal keeps all of it."""

_LOST: Final = "All variables are lost: the next block starts in a new session, so define again what it needs."
_LOST_IN_REBUILDING: Final = (
    "Note: the session was opened anew after an interruption, and its variables could not be rebuilt. Define again what"
    " this and later blocks need."
)
_DIVERGED: Final = (
    "Note: the session was opened anew after an interruption, and block {block} and those after it may have left other"
    " values than you were shown. Check the variables that you rely on, or define them again."
)
_SILENT: Final = "The block ran and printed nothing. Use print(...) or tools.display(...) to see results."


@dataclass(slots=True)
class Transcript:
    """What the running block prints and displays, in order, for the backbone and for the journal."""

    record: Record
    parts: list[Part] = field(default_factory=list)
    block: int = 0
    _run: list[str] = field(default_factory=list)
    _unwritten: list[str] = field(default_factory=list)

    def begin(self, block: int) -> None:
        """Forget the last block."""
        self.block = block
        self.parts = []
        self._run = []
        self._unwritten = []

    def again(self, block: RecordedBlock) -> None:
        """Take what a block has printed and displayed before, which is journaled already."""
        self.begin(block.started.block)
        for event in block.said:
            if isinstance(event, BlockOutput):
                self._run.append(event.text)
            else:
                self._end_run()
                self.parts += self.record.restored(event.parts)
        self._end_run()

    def printed(self, text: str) -> None:
        """Take a piece of output as it comes; that of a block that runs again for its variables is known."""
        if self.record.rerun is not None:
            return
        self._run.append(text)
        self._unwritten.append(text)

    def call_begins(self) -> None:
        """Journal the output so far, so that it stands before the call; for the backbone the run of output goes on."""
        text = "".join(self._unwritten)
        self._unwritten = []
        if text:
            self.record.journal.append(BlockOutput(block=self.block, text=text))

    def show(self, parts: Sequence[Part]) -> None:
        """Take what the block displays."""
        if self.record.rerun is not None:
            return
        self.end_of_output()
        self.parts += parts
        self.record.journal.append(Displayed(block=self.block, parts=[self.record.part(part) for part in parts]))

    def end_of_output(self) -> None:
        """Close the current run of output, so that what follows stands after it."""
        self.call_begins()
        self._end_run()

    def _end_run(self) -> None:
        text = "".join(self._run).rstrip("\n")
        self._run = []
        if text.strip():
            self.parts.append(Text(_shortened(text)))


@dataclass(slots=True)
class SandboxWorkbench:
    """Runs blocks in a session.

    Attributes:
        record: Where everything is written down.
        transcript: The sink of the session's output and of the tools.
        open_session: Opens a session whose output goes to the transcript.
    """

    record: Record
    transcript: Transcript
    open_session: Callable[[], Awaitable[Session | RemoteSession]]
    _session: Session | RemoteSession | None = None

    async def run(self, number: int, code: str) -> Shown:
        """Run one block; see `protocols.Workbench`."""
        block = self.record.next_block()
        if (before := self.record.tape.blocks.get(block)) is not None:
            return self._shown_before(before, code)
        try:
            session, note = await self._ready_session()
        except SandboxError as error:
            raise _failed(error) from error
        self.transcript.begin(block)
        self.record.journal.append(BlockStarted(round=number, block=block, code=code))
        if note:
            self.transcript.show([Text(note)])
        try:
            with tracing.span("block", {"maia.block": block}) as span:
                self.record.trace = tracing.current()
                ended = await self._outcome(session, block, code)
                span.note({"maia.outcome": ended.status})
        except SandboxError as error:
            raise _failed(error) from error
        finally:
            self.transcript.end_of_output()  # also of a block that a fault or the user cut short
        await self.record.journal.put(ended)
        return self._shown(ended)

    async def close(self) -> None:
        """End the session."""
        if self._session is not None:
            await self._session.close()

    async def _ready_session(self) -> tuple[Session | RemoteSession, str]:
        """Return the session with its variables, and what the agent should know of them."""
        if self._session is not None and self._session.alive:
            return self._session, ""
        blocks = self.record.session()
        self._session = session = await self.open_session()
        for block in blocks:
            if not await self._rebuilt(session, block):
                number = block.started.block
                log.warning("a block that ran again went another way", block=number)
                return session, _LOST_IN_REBUILDING if not session.alive else _DIVERGED.format(block=number)
        return session, ""

    async def _rebuilt(self, session: Session | RemoteSession, block: RecordedBlock) -> bool:
        """Run a block for its variables; tell whether it went as before."""
        self.record.rerun = rerun = Rerun(block)
        try:
            outcome = await session.run(block.started.code)
        except HostGoneError:
            raise
        except SessionError:
            return False
        except (TypeError, ValueError):  # as before: such code never runs
            return block.ended.status == Status.KILLED.value
        finally:
            self.record.rerun = None
        return outcome.status.value == block.ended.status and not rerun.diverged

    async def _outcome(self, session: Session | RemoteSession, block: int, code: str) -> BlockEnded:
        """Run a block to its end; a guest that broke the protocol has harmed its own session only."""
        try:
            return _ended(block, await session.run(code))
        except HostGoneError:
            raise  # no doing of the block, so nothing to show to whoever wrote it
        except SessionError as error:
            return _not_run(block, str(error), State.LOST)
        except (TypeError, ValueError) as error:
            return _not_run(block, str(error), State.KEPT)

    def _shown_before(self, block: RecordedBlock, code: str) -> Shown:
        """Return what a block showed that an earlier process has run to its end."""
        if block.started.code != code:
            raise JournalError(
                f"block {block.started.block} in {self.record.journal.folder} is not what this version reads from the"
                " reply before it; start over with --fresh"
            )
        self.transcript.again(block)
        return self._shown(block.ended)

    def _shown(self, ended: BlockEnded) -> Shown:
        parts = _bounded(self.transcript.parts)
        if ended.message:
            parts.append(Text(_shortened(ended.message)))
        if ended.state == State.LOST.value:
            parts.append(Text(_LOST))
        return Shown(tuple(parts) or (Text(_SILENT),), ok=ended.status == Status.OK.value)


def _failed(error: SandboxError) -> SandboxFailedError:
    passing = isinstance(error, HostGoneError | SessionsFullError)
    return SandboxFailedError(f"the sandbox failed: {error}", passing=passing)


def _ended(block: int, outcome: Outcome) -> BlockEnded:
    return BlockEnded(
        block=block,
        status=outcome.status.value,
        message=outcome.message,
        state=outcome.state.value,
        usage={name: round(float(value), 6) for name, value in asdict(outcome.usage).items()},
    )


def _not_run(block: int, message: str, state: State) -> BlockEnded:
    return BlockEnded(block=block, status=Status.KILLED.value, message=message, state=state.value, usage={})


def _bounded(parts: Sequence[Part]) -> list[Part]:
    """Keep what one block shows within bounds, its beginning first: a loop that displays would fill a whole context."""
    chars = pictures = 0
    for position, part in enumerate(parts):
        chars += len(part.text) if isinstance(part, Text) else 0
        pictures += not isinstance(part, Text)
        if chars > MAX_BLOCK_CHARS or pictures > MAX_BLOCK_PICTURES:
            note = f"[… the last {len(parts) - position:,} texts and pictures of this block are left out; show less …]"
            return [*parts[:position], Text(note)]
    return list(parts)


def _shortened(text: str) -> str:
    """Keep both ends of a long text: the beginning says what it is, the end how it went."""
    if len(text) <= MAX_SHOWN_CHARS:
        return text
    half = MAX_SHOWN_CHARS // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out; print less …]\n{text[-half:]}"
