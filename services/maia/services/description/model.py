"""What a describer is, whatever looks: no gRPC here, and no vision-language model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maia.services._runtime.jobs import Abandoned
from maia.wire.errors import MaiaError
from maia.wire.maps import darken
from maia.wire.pictures import Rgb


@dataclass(frozen=True, slots=True)
class DescriberInfo:
    """What callers may know of a describer.

    Attributes:
        name: For example "scenes".
        revision: Changes whenever the same picture may be described in other words.
    """

    name: str
    revision: str


@dataclass(frozen=True, slots=True)
class View:
    """What to look at.

    Attributes:
        rgb: The original picture, uint8, shape (height, width, 3).
        mask: The region to describe, bool, shape (height, width); None for the whole picture.
    """

    rgb: Rgb
    mask: NDArray[np.bool_] | None

    @property
    def shown(self) -> Rgb:
        """The picture as agents see it: outside the region at a quarter of its brightness."""
        return self.rgb if self.mask is None else darken(self.rgb, self.mask)

    @property
    def masked(self) -> bool:
        """Whether anything is darkened."""
        return self.mask is not None and not bool(self.mask.all())

    @property
    def empty(self) -> bool:
        """Whether all is darkened, so that there is nothing to describe."""
        return self.mask is not None and not bool(self.mask.any())


class Task(StrEnum):
    """What is wanted of views."""

    DESCRIBE = "describe"
    """What one view shows."""

    SUMMARIZE = "summarize"
    """What all the views have in common."""


@dataclass(frozen=True, slots=True)
class Question:
    """One line of text that somebody wants.

    Attributes:
        task: What about the views.
        views: One to describe, one or more to summarize.
        index: Place of the first view in its request, for errors.
    """

    task: Task
    views: tuple[View, ...]
    index: int = 0

    @property
    def what(self) -> str:
        """What it is about, for errors."""
        return f"picture {self.index}" if len(self.views) == 1 else f"these {len(self.views)} pictures"

    @property
    def place(self) -> int | None:
        """The place in its request of the one picture that it is about; None if there are several."""
        return self.index if len(self.views) == 1 else None


class Describer(Protocol):
    """Puts pictures into words. Only the model thread calls `answer`."""

    @property
    def info(self) -> DescriberInfo:
        """Its description; never changes."""
        ...

    def key(self, task: Task, views: int) -> Hashable:
        """Return what questions must have in common to be answered in one batch.

        Args:
            task: Of the question.
            views: How many it has.
        """
        ...

    def answer(self, questions: Sequence[Question], abandoned: Abandoned) -> list[str | MaiaError]:
        """Answer one batch; a question gets the same answer whatever else is in its batch, but for rounding.

        Args:
            questions: All with the same key.
            abandoned: Whether nobody waits for any of them any more; asked between steps.

        Returns:
            One line for each question, never an empty one; or the error of a question that failed alone.

        Raises:
            CancelledError: The batch was abandoned.
        """
        ...
