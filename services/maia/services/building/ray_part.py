"""What runs on the machines of a Ray cluster: one part of a pass, and the board that all parts write on.

It imports neither Ray nor torch: a worker first learns how torch's threads are to wait.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from maia.services._runtime.memory import keep_freed_memory
from maia.services._runtime.program import QUIET_THREADS
from maia.wire import errors
from maia.wire.errors import MaiaError
from maia.wire.logs import configure_logs

if TYPE_CHECKING:
    from maia.services.building.build import Build, Built
    from maia.services.building.passing import Step

__all__ = ["Board", "Ended", "Failure", "Task", "run"]

_REPORT_S: Final = 0.5
_ANSWER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Task:
    """A part to do.

    Attributes:
        packed: The pickled `Build`, which must not be unpacked before the process is prepared.
        folder: Where the command runs: what relative names are relative to, where this machine has it too.
        index: Of the part.
        count: Of all parts.
        threads: Of the processor, for this part.
    """

    packed: bytes
    folder: str
    index: int
    count: int
    threads: int

    @classmethod
    def of(cls, asked: Build, index: int, count: int, threads: int) -> Task:
        """Pack a part."""
        return cls(pickle.dumps(replace(asked, threads=threads)), str(Path.cwd()), index, count, threads)


@dataclass(frozen=True, slots=True)
class Failure:
    """A `MaiaError` that can be sent to another process.

    Attributes:
        kind: Name of its class.
        message: Its message.
        reason: Its reason.
        metadata: Its metadata.
    """

    kind: str
    message: str
    reason: str
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, error: MaiaError) -> Failure:
        """Take an error apart."""
        return cls(type(error).__name__, error.message, error.reason, dict(error.metadata))

    def error(self) -> MaiaError:
        """Return the error again."""
        kind: Callable[..., MaiaError] = getattr(errors, self.kind, errors.InternalError)
        return kind(self.message, reason=self.reason, metadata=self.metadata)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a part ended: one of both."""

    built: Built | None = None
    failure: Failure | None = None


class Board:
    """An actor: what each part has done, and whether all are to stop."""

    def __init__(self) -> None:
        """Nobody has begun."""
        self._done: dict[int, int] = {}
        self._stopping = False

    def report(self, index: int, done: int) -> bool:
        """Write how many pictures of a part are done, and read whether to stop."""
        self._done[index] = done
        return self._stopping

    def look(self, *, stop: bool) -> dict[int, int]:
        """Return the pictures that are done, by part, those alone that have begun.

        Args:
            stop: Tell all parts to stop from now on.
        """
        self._stopping |= stop
        return dict(self._done)


def run(task: Task, board: Any) -> Ended:  # noqa: ANN401  (a handle of Ray, which has no type of ours)
    """Do a part; its state is in the store then. What was done before, by a worker that died, is not done again.

    Args:
        task: What to do.
        board: Handle of the `Board`.
    """
    os.environ.setdefault(*QUIET_THREADS)
    keep_freed_memory()
    configure_logs(level="warning")
    with contextlib.suppress(OSError):  # on a machine without it, what is relative is reported as missing
        os.chdir(task.folder)
    import torch

    from maia.services.building.build import build
    from maia.services.building.plan import Shard

    torch.set_num_threads(task.threads)
    asked = replace(pickle.loads(task.packed), shard=Shard(task.index, task.count))  # noqa: S301  (our own command's)
    with _reporting(task.index, board) as (heard, stopped):
        try:
            return Ended(build(asked, heard, stopped))
        except MaiaError as error:
            return Ended(failure=Failure.of(error))


@contextmanager
def _reporting(index: int, board: Any) -> Iterator[tuple[Callable[[Step], None], Callable[[], bool]]]:  # noqa: ANN401
    """Yield what hears of steps and what says whether to stop.

    A thread speaks with the board: while the main thread waited for an answer, Ray would think its processor free and
    begin another part beside it.
    """
    import ray

    done, stop, over = 0, threading.Event(), threading.Event()

    def heard(step: Step) -> None:
        nonlocal done
        if step.doing == "measuring":
            done = step.done

    def report() -> None:
        # Ray sets a board up anew that was lost with its machine; until then nobody knows how far the part is.
        with contextlib.suppress(ray.exceptions.RayError):
            if ray.get(board.report.remote(index, done), timeout=_ANSWER_S):
                stop.set()

    def speak() -> None:
        report()
        while not over.wait(_REPORT_S):
            report()
        report()

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield heard, stop.is_set
    finally:
        over.set()
        speaker.join()
