"""What belongs to one call of a tool."""

from __future__ import annotations

from dataclasses import dataclass, field

from maia.orchestrator.clients import Terms
from maia.orchestrator.conversation import Part


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool.

    Attributes:
        number: Counts through the whole run; enters the seeds.
        terms: The deadline and ids of its requests to servers.
        notes: Filled by the tool: what the agent should know beside the result, a sentence each.
        shown: Filled by the tool: what it displays.
    """

    number: int
    terms: Terms
    notes: list[str] = field(default_factory=list)
    shown: list[Part] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Tell the agent something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
