"""The seams of the orchestrator: what the loop needs from the things around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from maia.orchestrator.conversation import Message, Part, Reply


class Backbone(Protocol):
    """What writes the experiments: a vendor's VLM, the scripted agent, a replayed journal.

    A backbone keeps no state that a request does not carry: the same system prompt and messages may be asked again
    after a restart.
    """

    @property
    def name(self) -> str:
        """As the user gave it to --agent; names the folder of the results."""
        ...

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        """Answer a conversation that ends with a user's message.

        Args:
            system: System prompt; the same at every call of a run.
            messages: Alternating, first and last from the user. Earlier ones never change between calls.

        Raises:
            BackboneError: The vendor refused or stayed out of reach after the SDK's own retries.
        """
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """What came of one block, as the backbone will see it.

    Attributes:
        parts: Output, displayed items and the outcome's message, in order.
        ok: False when the block did not run to its end.
    """

    parts: tuple[Part, ...]
    ok: bool


class Workbench(Protocol):
    """Where code blocks run."""

    async def run(self, number: int, code: str) -> Shown:
        """Run one block in the unit's lasting session and journal it.

        Args:
            number: The round that it belongs to.
            code: Python.

        Raises:
            MaiaError: A server or the sandbox failed for good.
        """
        ...
