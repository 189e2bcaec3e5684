from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from maia.services._runtime.model_thread import ModelThread


async def test_all_work_runs_in_one_thread_in_order() -> None:
    ran: list[tuple[int, int]] = []
    with ModelThread("test") as thread:

        def work(i: int) -> None:
            ran.append((i, threading.get_ident()))

        await asyncio.gather(*(thread.run(partial(work, i)) for i in range(20)))
    assert [i for i, _ in ran] == list(range(20))
    assert len({ident for _, ident in ran} - {threading.get_ident()}) == 1


async def test_work_of_a_caller_who_hung_up_is_dropped() -> None:
    release = threading.Event()
    ran: list[str] = []
    with ModelThread("test") as thread:
        first = asyncio.create_task(thread.run(lambda: release.wait(10)))
        second = asyncio.create_task(thread.run(lambda: ran.append("cancelled")))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)  # only now has the loop told the thread
        release.set()
        await first
        await thread.run(lambda: ran.append("next"))
    assert ran == ["next"]


async def test_an_error_reaches_its_caller_and_nobody_else() -> None:
    with ModelThread("test") as thread:
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 / 0)
        assert await thread.run(lambda: 2) == 2
