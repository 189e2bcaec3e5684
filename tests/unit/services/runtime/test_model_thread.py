from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from maia.services._runtime import model_thread
from maia.services._runtime.model_thread import ModelThread
from maia.wire.deadline import Deadline
from maia.wire.errors import DeadlineExceededError, OverloadedError


async def test_all_work_runs_in_one_thread_in_order() -> None:
    ran: list[tuple[int, int]] = []
    with ModelThread("test") as thread:

        def work(i: int) -> None:
            ran.append((i, threading.get_ident()))

        await asyncio.gather(*(thread.run(partial(work, i), Deadline(), doing="x") for i in range(20)))
    assert [i for i, _ in ran] == list(range(20))
    assert len({ident for _, ident in ran} - {threading.get_ident()}) == 1


async def test_work_whose_deadline_passed_while_it_waited_is_dropped() -> None:
    release = threading.Event()
    ran: list[str] = []
    with ModelThread("test") as thread:
        first = asyncio.create_task(thread.run(lambda: release.wait(10), Deadline(), doing="blocking"))
        second = asyncio.create_task(thread.run(lambda: ran.append("late"), Deadline.after(0.05), doing="measuring"))
        await asyncio.sleep(0.1)
        release.set()
        assert await first
        with pytest.raises(DeadlineExceededError, match="before measuring"):
            await second
    assert not ran


async def test_work_of_a_caller_who_hung_up_is_dropped() -> None:
    release = threading.Event()
    ran: list[str] = []
    with ModelThread("test") as thread:
        first = asyncio.create_task(thread.run(lambda: release.wait(10), Deadline(), doing="blocking"))
        second = asyncio.create_task(thread.run(lambda: ran.append("cancelled"), Deadline(), doing="x"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)  # only now has the loop told the thread
        release.set()
        await first
        await thread.run(lambda: ran.append("next"), Deadline(), doing="x")
    assert ran == ["next"]


async def test_an_error_reaches_its_caller_and_nobody_else() -> None:
    with ModelThread("test") as thread:
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 / 0, Deadline(), doing="x")
        assert await thread.run(lambda: 2, Deadline(), doing="x") == 2


async def test_a_full_queue_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_thread, "MAX_WAITING", 2)
    release = threading.Event()
    with ModelThread("test") as thread:
        waiting = [asyncio.create_task(thread.run(lambda: release.wait(10), Deadline(), doing="x")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError) as caught:
            await thread.run(lambda: None, Deadline(), doing="x")
        assert caught.value.retry_after_s > 0
        release.set()
        await asyncio.gather(*waiting)
        await thread.run(lambda: None, Deadline(), doing="x")
