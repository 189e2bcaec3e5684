"""What every tier is to a host."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from maia.sandbox.limits import Limits

__all__ = ["Ends", "Feature", "Tier"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that a tier enforces, or does not.

    Attributes:
        name: One or two words.
        enforced: Whether it is, here and now.
        detail: What it covers, or what is missing.
    """

    name: str
    enforced: bool
    detail: str


async def _stays() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Ends:
    """The host's ends of one session; whoever takes them closes them.

    Attributes:
        control: A non-blocking stream to the supervisor: lines of JSON (`maia.sandbox.protocol.control`).
        channel: A non-blocking stream to the guest: frames (`maia.sandbox.protocol.frames`).
        output: Non-blocking reading end of what the guest prints.
        destroy: Ends the supervisor and everything in the session at once, from outside. Does not wait or raise, may be
            called twice, and gives back what the tier holds for the session.
        has_gone: Whether what holds all sessions of the tier has ended, so that this one's end is nobody's doing in it.
            Asks what no guest can reach.
    """

    control: socket.socket
    channel: socket.socket
    output: int
    destroy: Callable[[], None]
    has_gone: Callable[[], Awaitable[bool]] = _stays


class Tier(Protocol):
    """Makes sessions of one kind."""

    name: str

    @property
    def features(self) -> tuple[Feature, ...]:
        """What it enforces on this machine; known once started."""

    async def start(self, cache_dir: Path | None) -> None:
        """Get ready to open sessions.

        Args:
            cache_dir: Where to remember what takes a while to find out; None finds out each time.

        Raises:
            TierUnavailableError: This machine cannot do it; the error says what mends it. Nothing is left running.
        """

    async def open(self, limits: Limits) -> Ends:
        """Make a session whose supervisor waits for its first line; its limits are in force or come with that line.

        Raises:
            TierUnavailableError: The kernel refused a step of isolation.
            HostGoneError: What holds the tier's sessions has ended, and could not be started again.
            SandboxError: The session could not be made.
        """

    async def close(self) -> None:
        """End every session and give back everything. Closing again does nothing."""
