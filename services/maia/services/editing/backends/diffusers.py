"""The editor `diffusers`: a pipeline on this machine that follows instructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from maia.services._runtime import diffusion
from maia.services._runtime.diffusion.guides import instruction_guide
from maia.services._runtime.diffusion.loading import load
from maia.services._runtime.diffusion.options import DiffusionOptions
from maia.services._runtime.diffusion.running import Order, PipelineRunner
from maia.services._runtime.diffusion.sizes import Size, editing_size, squeezed
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.services._runtime.revision import revision_of
from maia.services.editing.model import Edit, EditorInfo
from maia.wire.errors import MaiaError
from maia.wire.pictures import Rgb


class DiffusersEditor:
    """Runs a pipeline; a `maia.services.editing.model.Editor`.

    Args:
        options: Which pipeline, and how. What is raised if it cannot be loaded: see `load`.
    """

    def __init__(self, options: DiffusionOptions) -> None:
        self._runner = PipelineRunner(load(options, "editing"), options)
        code = revision_of((Path(__file__).parent, Path(diffusion.__file__).parent))
        guide = instruction_guide(self._runner.loaded.recipe)
        self._info = EditorInfo(options.model, self._runner.revision(code), guide)

    @property
    def info(self) -> EditorInfo:
        """Its description."""
        return self._info

    def key(self, size: Size) -> Size:
        """Return the size at which a picture is edited: a batch has one, into which others would be squeezed."""
        width, height = self._runner.size
        return editing_size(size, self._runner.loaded.recipe, width * height)

    def edit(self, edits: Sequence[Edit], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Make a batch of edits in one run of the pipeline; see `PipelineRunner.run`.

        A picture is brought to the size of the run before, and comes out at that size.
        """
        size = self.key(_size(edits[0].rgb))
        orders = [Order(edit.instruction, edit.seed, _resized(edit.rgb, size)) for edit in edits]
        made = self._runner.run(orders, size, abandoned)
        return [_told(one, squeezed(_size(edit.rgb), size)) for edit, one in zip(edits, made, strict=True)]


def _size(rgb: Rgb) -> Size:
    height, width = rgb.shape[:2]
    return width, height


def _resized(rgb: Rgb, size: Size) -> Rgb:
    return np.asarray(Image.fromarray(rgb, "RGB").resize(size, Image.Resampling.LANCZOS))


def _told(made: MadePicture | MaiaError, warnings: tuple[str, ...]) -> MadePicture | MaiaError:
    return replace(made, warnings=(*warnings, *made.warnings)) if isinstance(made, MadePicture) else made
