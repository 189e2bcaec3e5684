"""Runs a command's coroutine so that every polite way to stop a program ends it in order."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
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


@contextmanager
def first_interrupt(does: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C do something, in the event loop, instead of ending the command; the next one ends it.

    Where a shell has had SIGINT ignored, as of what it starts in the background, it stays so.
    """
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)

    def handle(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        loop.call_soon_threadsafe(does)

    if before in (signal.SIG_IGN, None) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
