"""What one run writes down and has written down: the journal, the tape of an earlier process, and the counters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maia.orchestrator.conversation import Part, Picture, Reply, Text, TokenUsage
from maia.orchestrator.events import PartEvent, PicturePart, TextPart
from maia.orchestrator.journal import JournalReader, JournalWriter, read_picture
from maia.orchestrator.tape import RecordedBlock, Tape

if TYPE_CHECKING:
    from opentelemetry.context import Context


class Record:
    """The journal of a run with its counters.

    Args:
        journal: Where events go. What stands in it already is not asked for again.

    Attributes:
        journal: Where events go.
        tape: What stood in the journal at the beginning.
        blocks: Code blocks begun so far.
        tool_calls: Tool calls begun so far.
        image_ids: For pictures that the guest knows: the reference by the hash of the bytes.
        cut_diverged: Whether the block that was cut short has made another call than before, so that none of its later
            answers fits.
        trace: Where the round is in its trace: tools are called from a task of the session.
        rerun: Set while a block runs once more only to rebuild the session's variables.
    """

    def __init__(self, journal: JournalWriter) -> None:
        self.journal = journal
        self.tape = Tape.of(journal.events, journal.voided)
        self.blocks = self.tape.told
        self.tool_calls = self.tape.tool_calls
        self.image_ids: dict[str, str] = {}
        self.trace: Context | None = None
        self.rerun: Rerun | None = None
        self.cut_diverged = False

    def next_block(self) -> int:
        """Number a block, from 1."""
        self.blocks += 1
        return self.blocks

    def next_call(self) -> int:
        """Number a tool call, from 1."""
        self.tool_calls += 1
        return self.tool_calls

    async def store(self, parts: Iterable[Part]) -> None:
        """Store the pictures among parts that are to be named, while the event loop goes on."""
        await self.journal.store([part for part in parts if isinstance(part, Picture)])

    def part(self, part: Part) -> PartEvent:
        """Return a part as events name it, its picture stored beside the journal."""
        match part:
            case Text(text):
                return TextPart(text)
            case Picture():
                sha256 = self.journal.add_picture(part)
                return PicturePart(sha256, part.media_type, part.width, part.height, self.image_ids.get(sha256, ""))

    def restored(self, parts: Iterable[PartEvent]) -> tuple[Part, ...]:
        """Return the parts that an event names.

        Raises:
            JournalError: A picture is missing or altered.
        """
        return tuple(self._restored(part) for part in parts)

    def _restored(self, part: PartEvent) -> Part:
        match part:
            case TextPart(text=text):
                return Text(text)
            case PicturePart():
                data = read_picture(self.journal.folder, part.sha256, part.media_type)
                if part.image_id:
                    self.image_ids[part.sha256] = part.image_id
                return Picture(data, part.media_type, part.width, part.height, part.image_id)

    def reply(self, number: int) -> Reply | None:
        """Return a reply that an earlier process was given, None if none was."""
        event = self.tape.replies.get(number)
        if event is None:
            return None
        return Reply(event.text, event.model, TokenUsage(**event.usage), event.stop_reason)

    def session(self) -> list[RecordedBlock]:
        """Return the blocks that a new session must run to hold what the last one held."""
        return Tape.of(JournalReader(self.journal.folder).events).session() if self.blocks else []


@dataclass(slots=True)
class Rerun:
    """A block that runs once more, for its variables.

    Attributes:
        block: As it ran before.
        calls: Of its calls, how many have been answered again.
        diverged: Whether the code has asked something else than before.
    """

    block: RecordedBlock
    calls: int = 0
    diverged: bool = False
