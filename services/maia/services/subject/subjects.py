"""The subjects of a server: loaded when they are asked for, put away when there is no room."""

from __future__ import annotations

import asyncio
import copy
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from maia.services._runtime.memory import is_out_of_memory, release_memory
from maia.services._runtime.model_thread import ModelThread
from maia.services.subject.model import Subject
from maia.wire.errors import NotFoundError, PreconditionError

__all__ = ["Subjects"]

log = structlog.stdlib.get_logger("maia.subject")


class Subjects:
    """Loads subjects by name, within a budget of memory; the one asked for longest ago goes first."""

    def __init__(
        self,
        load: Callable[[str], Subject],
        names: Sequence[str],
        thread: ModelThread,
        *,
        max_bytes: int = 0,
        on_drop: Callable[[Subject], None] = lambda _: None,
        retry_after_s: float = 10.0,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            load: Loads one, in the model's thread.
            names: All that callers may ask for. What loads code or files by name is here only if the operator says so.
            thread: The model's.
            max_bytes: Of all subjects together; 0 for no bound. One alone may have more.
            on_drop: Is told of each that is put away.
            retry_after_s: How long what could not be loaded is not tried again.
        """
        self.names: Final = tuple(dict.fromkeys(names))
        self._load = load
        self._thread = thread
        self._max_bytes = max_bytes
        self._on_drop = on_drop
        self._retry_after_s = retry_after_s
        self._loaded: OrderedDict[str, Subject] = OrderedDict()
        self._adding: dict[str, asyncio.Task[Subject]] = {}
        self._failed: dict[str, tuple[float, BaseException]] = {}

    @property
    def loaded(self) -> list[str]:
        """Names of those in memory."""
        return list(self._loaded)

    async def get(self, name: str) -> Subject:
        """Return a subject, loaded if need be.

        Raises:
            NotFoundError: SUBJECT_UNKNOWN, metadata "valid".
            PreconditionError: MODEL_TOO_LARGE: it does not fit into memory, even alone.
            MaiaError: Whatever else loading it raises.
        """
        if name not in self.names:
            valid = ", ".join(self.names)
            raise NotFoundError(
                f"no subject {name!r:.100} here; this server has {valid}",
                reason="SUBJECT_UNKNOWN",
                metadata={"subject": name, "valid": valid},
            )
        if name not in self._loaded:
            if name not in self._adding:
                self._adding[name] = asyncio.create_task(self._add(name))
                self._adding[name].add_done_callback(lambda task: self._added(name, task))
            # Shielded: who hangs up must not end it for the others.
            return await asyncio.shield(self._adding[name])
        self._loaded.move_to_end(name)
        return self._loaded[name]

    async def _add(self, name: str) -> Subject:
        until, failure = self._failed.get(name, (0.0, None))
        if failure is not None and time.monotonic() < until:
            raise _again(failure)
        self._failed.pop(name, None)
        try:
            subject = await self._in_thread(name)
        except _FullError:
            self._make_room(0)
            try:
                subject = await self._in_thread(name)
            except _FullError as error:
                too_large = PreconditionError(
                    f"{name} does not fit into memory ({error}); choose a smaller model or another device",
                    reason="MODEL_TOO_LARGE",
                    metadata={"subject": name},
                )
                # The others were put away for it once, in vain.
                self._failed[name] = (math.inf, _again(too_large))
                raise too_large from error
        if self._max_bytes:
            self._make_room(max(self._max_bytes - subject.nbytes, 0))
        self._loaded[name] = subject
        log.info("loaded", subject=name, megabytes=round(subject.nbytes / 1e6), loaded=self.loaded)
        return subject

    def _added(self, name: str, task: asyncio.Task[Subject]) -> None:
        del self._adding[name]
        error = None if task.cancelled() else task.exception()
        # Loading takes the model's thread from everybody, and what fails now fails again at once.
        if error is not None and name not in self._failed:
            self._failed[name] = (time.monotonic() + self._retry_after_s, _again(error))

    async def _in_thread(self, name: str) -> Subject:
        def load() -> Subject:
            try:
                return self._load(name)
            except SystemExit as error:  # a user's own module may ask its process to exit; it is not to
                raise RuntimeError(repr(error)) from error
            except Exception as error:
                if is_out_of_memory(error):
                    raise _FullError(str(error).partition("\n")[0]) from None
                raise

        return await self._thread.run(load)

    def _make_room(self, left: int) -> None:
        """Put subjects away until the rest has no more bytes than that."""
        while self._loaded and sum(subject.nbytes for subject in self._loaded.values()) > left:
            name, subject = self._loaded.popitem(last=False)
            self._on_drop(subject)
            log.info("put away", subject=name)
        release_memory()


def _again(error: BaseException) -> BaseException:
    """Return the same error anew: each raise of one and the same would lengthen its traceback, which holds requests."""
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001  not every class can be made of its arguments
        copied = RuntimeError(repr(error))
    copied.__cause__ = copied.__context__ = None
    return copied.with_traceback(None)


class _FullError(Exception):
    """There is no room."""
