"""The editor `scenes`: changes the drawing, not the pixels.

The drawing is the scene that a PNG of ours carries, if the picture still looks like it; otherwise what the segmenter
finds, with a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from maia.services import scenes
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.services._runtime.revision import revision_of
from maia.services.editing.model import Edit, EditorInfo
from maia.services.scenes.edit import edit
from maia.services.scenes.guide import edit_guide
from maia.services.scenes.png import embedded_scene, encode
from maia.services.scenes.render import MAX_SIDE, MIN_SIDE, render
from maia.services.scenes.scene import Scene, SceneError
from maia.services.scenes.segment import scene_from_pixels
from maia.wire.errors import CancelledError, MaiaError
from maia.wire.pictures import Rgb


class SceneEditor:
    """Edits scenes; a `maia.services.editing.model.Editor`."""

    def __init__(self) -> None:
        folders = (Path(__file__).parent, Path(scenes.__file__).parent)
        self._info = EditorInfo("scenes", revision_of(folders), edit_guide(), takes_empty=True)

    @property
    def info(self) -> EditorInfo:
        """Its description."""
        return self._info

    def key(self, size: tuple[int, int]) -> str:  # noqa: ARG002  any edits may be made together
        """Return the same for all."""
        return "scenes"

    def edit(self, edits: Sequence[Edit], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Make a batch of edits; the results have the sizes of the originals, within what can be drawn."""
        return [_edited(one, abandoned) for one in edits]


def _edited(one: Edit, abandoned: Abandoned) -> MadePicture:
    if abandoned():
        raise CancelledError("nobody waits for these pictures any more")
    size, warnings = _size(one.rgb)
    scene, from_pixels = _scene(one, size)
    changed, from_edit = edit(scene, one.instruction, one.seed)
    return MadePicture(encode(changed, render(changed, size)), (*warnings, *from_pixels, *from_edit))


def _scene(one: Edit, size: tuple[int, int]) -> tuple[Scene, tuple[str, ...]]:
    try:
        scene = embedded_scene(one.data)
    except SceneError:
        scene = None
    # A picture may have been painted over since, with its scene still in the file: the pixels decide.
    if scene is not None and np.array_equal(np.asarray(render(scene, size)), one.rgb):
        return scene, ()
    return scene_from_pixels(_enlarged(one.rgb))


def _enlarged(rgb: Rgb) -> Rgb:
    """Repeat the pixels of a picture that is too small to be segmented."""
    rows, columns = (-(-MIN_SIDE // side) for side in rgb.shape[:2])
    return rgb if rows == columns == 1 else rgb.repeat(rows, axis=0).repeat(columns, axis=1)


def _size(rgb: Rgb) -> tuple[tuple[int, int], tuple[str, ...]]:
    """Return the width and height at which a picture is drawn again, and a warning if it is not its own."""
    height, width = rgb.shape[:2]
    scale = min(1.0, MAX_SIDE / max(width, height))
    size = max(MIN_SIDE, round(width * scale)), max(MIN_SIDE, round(height * scale))
    if size == (width, height):
        return size, ()
    return size, (f"the picture of {width} × {height} pixels was redrawn at {size[0]} × {size[1]}",)
