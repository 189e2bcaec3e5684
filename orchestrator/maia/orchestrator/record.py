"""What one run writes down: the journal, and the counters that number its blocks and calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from maia.orchestrator.conversation import Part, Picture, Text
from maia.orchestrator.events import PartEvent, PicturePart, TextPart
from maia.orchestrator.journal import JournalWriter


@dataclass(slots=True)
class Record:
    """The journal of a run with its counters.

    Attributes:
        journal: Where events go.
        blocks: Code blocks begun so far.
        tool_calls: Tool calls begun so far.
        image_ids: For pictures that the guest knows: the reference by the hash of the bytes.
    """

    journal: JournalWriter
    blocks: int = 0
    tool_calls: int = 0
    image_ids: dict[str, str] = field(default_factory=dict)

    def next_block(self) -> int:
        """Number a block, from 1."""
        self.blocks += 1
        return self.blocks

    def next_call(self) -> int:
        """Number a tool call, from 1."""
        self.tool_calls += 1
        return self.tool_calls

    def part(self, part: Part) -> PartEvent:
        """Return a part as events name it, its picture stored beside the journal."""
        match part:
            case Text(text):
                return TextPart(text)
            case Picture():
                sha256 = self.journal.add_picture(part)
                return PicturePart(sha256, part.media_type, part.width, part.height, self.image_ids.get(sha256, ""))
