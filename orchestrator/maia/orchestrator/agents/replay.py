"""A journal's replies once more, in order: the same investigation without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maia.orchestrator.conversation import Message, Reply
from maia.orchestrator.errors import BackboneError, JournalError
from maia.orchestrator.events import BackboneReply
from maia.orchestrator.journal import JournalReader


@dataclass(frozen=True, slots=True)
class ReplayBackbone:
    """Answers a conversation with n assistant messages by the journal's reply n + 1; costs no tokens.

    Attributes:
        name: As the user gave it.
        folder: The journal's.
        replies: In the journal's order.
    """

    name: str
    folder: Path
    replies: tuple[BackboneReply, ...]

    @classmethod
    def open(cls, name: str, folder: Path) -> ReplayBackbone:
        """Read a unit's folder.

        Raises:
            JournalError: There is no readable journal, or it holds no reply.
        """
        events = JournalReader(folder).events
        replies = tuple(event for event in events if isinstance(event, BackboneReply))
        if not replies:
            raise JournalError(f"the journal in {folder} holds no reply to replay; name the folder of a finished unit")
        return cls(name, folder, replies)

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:  # noqa: ARG002  the journal knows both
        """Return the reply of this turn.

        Raises:
            BackboneError: The journal has no further one.
        """
        turn = sum(message.role == "assistant" for message in messages)
        if turn >= len(self.replies):
            raise BackboneError(
                f"the journal in {self.folder} holds {len(self.replies)} replies and this run asks for one more: it was"
                " cut short, or this run went another way (another --max-rounds, or a version that reads replies"
                " differently)",
                transient=False,
                reason="REPLAY_EXHAUSTED",
            )
        event = self.replies[turn]
        return Reply(event.text, event.model, stop_reason=event.stop_reason)

    async def aclose(self) -> None:
        """Nothing is open."""
