"""The switch that pauses running units between two rounds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from maia.wire.errors import MaiaError


class PausedError(MaiaError):
    """A unit stops between two rounds because it was asked to; the same run goes on from there later."""

    default_reason = "PAUSED"


@dataclass(slots=True)
class Pause:
    """Asks all units that hold it to finish their round and stop.

    Attributes:
        message: Why, for the journal.
    """

    message: str = ""
    _asked: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def asked(self) -> bool:
        """Whether it was asked for."""
        return self._asked.is_set()

    def ask(self, message: str = "paused by the user") -> None:
        """Ask for it; the first message stays."""
        self.message = self.message or message
        self._asked.set()

    def check(self) -> None:
        """Stop here if it was asked for.

        Raises:
            PausedError: With the message.
        """
        if self.asked:
            raise PausedError(self.message)

    async def when_asked(self) -> None:
        """Return when it is asked for."""
        await self._asked.wait()

    async def wait(self, at_most_s: float) -> None:
        """Return when it is asked for, or after a time."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._asked.wait()
        except TimeoutError:
            return
