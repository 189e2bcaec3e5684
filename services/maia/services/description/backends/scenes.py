"""The describer `scenes`: names what the scene world's segmenter sees in the pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maia.services import scenes
from maia.services._runtime.revision import revision_of
from maia.services.description.model import DescriberInfo, View
from maia.services.scenes.describe import caption, summary
from maia.services.scenes.segment import Segmentation, segment

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

    def describe(self, views: Sequence[View]) -> list[str]:
        """Name the things in each view, as `maia.services.scenes.describe.caption` words it."""
        return [caption(*_seen(view)) for view in views]

    def summarize(self, views: Sequence[View]) -> str:
        """Say what the views share, as `maia.services.scenes.describe.summary` words it."""
        return summary([_seen(view) for view in views])


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
