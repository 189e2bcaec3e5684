"""Runs a command's coroutine so that every polite way to stop a program ends it in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, Final

_STOPS: Final = (signal.SIGTERM, signal.SIGHUP)


def run_async(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine to its end.

    SIGINT, SIGTERM and a closed terminal cancel it, so that journals and children are ended by the contexts that hold
    them. A second SIGINT no longer waits.

    Raises:
        KeyboardInterrupt: It was stopped.
    """

    async def stoppable() -> int:
        task = asyncio.current_task()
        assert task is not None
        for number in _STOPS:
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await main

    try:
        return asyncio.run(stoppable())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
