"""The one thread that touches a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self, TypeVar

from maia.wire.deadline import Deadline
from maia.wire.errors import OverloadedError

_T = TypeVar("_T")

MAX_WAITING: Final = 256
"""Pieces of work that may wait; the next caller is told to come back."""

_RETRY_AFTER_S: Final = 1.0


class ModelThread:
    """Runs pieces of work one after the other in a thread of its own, in the order in which they came.

    A piece is at most one batch, since one that has started cannot be stopped. Many small pieces also let
    concurrent callers take turns.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-model")
        self._waiting = 0

    async def run(self, work: Callable[[], _T], deadline: Deadline, *, doing: str) -> _T:
        """Run `work` in the model's thread and return its result.

        Work that has not started when its deadline passes or its caller is cancelled is dropped.

        Args:
            work: At most one batch.
            deadline: The caller's.
            doing: What the work is, for the error: "measuring".

        Raises:
            DeadlineExceededError: The deadline passed before the work began.
            OverloadedError: Too much work is waiting.
        """
        if self._waiting >= MAX_WAITING:
            raise OverloadedError(f"{self._waiting} pieces of work are waiting already", retry_after_s=_RETRY_AFTER_S)

        def begin() -> _T:
            deadline.check(doing)
            return work()

        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, begin)
        finally:
            self._waiting -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Drop what waits; the piece that runs is waited for by the interpreter's exit."""
        self._executor.shutdown(wait=False, cancel_futures=True)
