"""Where a unit at work stands, as its events tell."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from maia.orchestrator.budget import Spending
from maia.orchestrator.events import (
    BackboneReply,
    BlockEnded,
    BlockStarted,
    Event,
    RunStarted,
    ToolCalled,
    ToolReturned,
    UnitName,
    UserMessage,
)


@dataclass(slots=True)
class Standing:
    """Where the unit at work stands, as its events tell.

    Attributes:
        unit: Which one.
        place: "2/4".
        max_rounds: How many rounds it may take.
        started: On the monotonic clock.
        round: The one at work, 0 before the first reply.
        doing: What is being waited for.
        spent: Since this command began with it.
    """

    unit: UnitName
    place: str
    max_rounds: int
    started: float = field(default_factory=time.monotonic)
    agent: str = "the agent"
    round: int = 0
    doing: str = "opening a session"
    spent: Spending = field(default_factory=Spending)

    def note(self, event: Event) -> bool:
        """Take in an event; tell whether a new round began."""
        before = self.round
        self.spent.note(event)
        match event:
            case RunStarted():
                self.agent = event.agent
            case UserMessage():
                self.doing = f"waiting for {self.agent}"
            case BackboneReply():
                self.round = event.round
                self.doing = "reading the reply"
            case BlockStarted() | ToolReturned():
                self.doing = "running code"
            case ToolCalled():
                self.doing = event.tool
            case BlockEnded():
                self.doing = "collecting results"
            case _:
                pass
        return self.round != before

    @property
    def rounds(self) -> str:
        """Return "3/25", or nothing before the first."""
        return f"{min(self.round, self.max_rounds)}/{self.max_rounds}" if self.round else ""

    @property
    def round_text(self) -> str:
        """Return "round 3 of 25", or nothing before the first."""
        return f"round {min(self.round, self.max_rounds)} of {self.max_rounds}" if self.round else ""

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started
