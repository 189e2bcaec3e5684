"""The describer `scenes`: names what the scene world's segmenter sees in the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maia.services import scenes
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.revision import revision_of
from maia.services.description.model import DescriberInfo, Question, Task, View
from maia.services.scenes.describe import caption, summary
from maia.services.scenes.segment import Segmentation, segment
from maia.wire.errors import CancelledError, MaiaError

_MIN_SIDE = 16  # of a picture that can be segmented


class SceneDescriber:
    """Describes scenes; a `maia.services.description.model.Describer`."""

    def __init__(self) -> None:
        folders = (Path(__file__).parent, Path(scenes.__file__).parent)
        self._info = DescriberInfo("scenes", revision_of(folders))

    @property
    def info(self) -> DescriberInfo:
        """Its description."""
        return self._info

    def key(self, task: Task, views: int) -> str:  # noqa: ARG002  any questions may be answered together
        """Return the same for all."""
        return "scenes"

    def answer(self, questions: Sequence[Question], abandoned: Abandoned) -> list[str | MaiaError]:
        """Name the things in a view, or what views share, as `maia.services.scenes.describe` words it."""
        return [_answered(question, abandoned) for question in questions]


def _answered(question: Question, abandoned: Abandoned) -> str:
    seen = []
    for view in question.views:
        if abandoned():
            raise CancelledError("nobody waits for these words any more")
        seen.append(_seen(view))
    return caption(*seen[0]) if question.task is Task.DESCRIBE else summary(seen)


def _seen(view: View) -> tuple[Segmentation, NDArray[np.bool_] | None]:
    rows, columns = (_repeats(side) for side in view.rgb.shape[:2])
    if rows == columns == 1:
        return segment(view.rgb), view.mask
    # Too small to be segmented: every pixel becomes a block, of the picture and of its mask alike.
    rgb = view.rgb.repeat(rows, axis=0).repeat(columns, axis=1)
    mask = view.mask.repeat(rows, axis=0).repeat(columns, axis=1) if view.mask is not None else None
    return segment(rgb), mask


def _repeats(side: int) -> int:
    return -(-_MIN_SIDE // side)
