"""The one thread that touches a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

_T = TypeVar("_T")


class ModelThread:
    """Runs pieces of work one after the other in a thread of its own, in the order in which they came.

    A piece is a batch or the loading of a model. Who may wait how long, and how many, is the queue's business.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"{name}-model")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run `work` in the model's thread and return its result; not at all if the caller is cancelled before."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Drop what waits; the piece that runs is waited for by the interpreter's exit."""
        self._executor.shutdown(wait=False, cancel_futures=True)
