"""Asking servers again while that may help."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar

import structlog

from maia.wire.errors import MaiaError, OverloadedError
from maia.wire.status import RETRYABLE

PATIENCE_S: Final = 120.0
"""How long servers that are out of reach or full are waited for."""

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 10.0

_Answer = TypeVar("_Answer")

log = structlog.stdlib.get_logger("maia.patience")


class Attempts:
    """Attempts at one thing, as long as asking again may help.

    Args:
        what: It is, for the log: "tools.text2image".
        patience_s: How long it is tried again.
        retryable: Errors after which asking again may help.

    Attributes:
        made: How many there were.
    """

    def __init__(
        self, what: str, patience_s: float = PATIENCE_S, retryable: Collection[type[MaiaError]] = RETRYABLE
    ) -> None:
        self._what = what
        self._patience_s = patience_s
        self._retryable = tuple(retryable)
        self._until = time.monotonic() + patience_s
        self.made = 0

    async def make(self, attempt: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Return the first answer.

        Raises:
            MaiaError: What the last attempt raised.
        """
        pause = _FIRST_PAUSE_S
        while True:
            self.made += 1
            try:
                return await attempt()
            except MaiaError as error:
                if not isinstance(error, self._retryable):
                    raise
                wait = error.retry_after_s if isinstance(error, OverloadedError) else pause
                if time.monotonic() + wait > self._until:
                    raise
                self._tell(error, wait)
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _tell(self, error: MaiaError, wait: float) -> None:
        """Warn once: an outage of a minute would else fill a screen."""
        write = log.warning if self.made == 1 else log.info
        write(
            f"{self._what} is tried again, for at most {self._patience_s:g} s",
            reason=error.reason,
            why=error.message,
            in_s=wait,
        )
