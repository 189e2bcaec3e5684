"""The generator `diffusers`: a text-to-image pipeline on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maia.services._runtime import diffusion
from maia.services._runtime.diffusion.guides import prompt_guide
from maia.services._runtime.diffusion.loading import load
from maia.services._runtime.diffusion.options import DiffusionOptions
from maia.services._runtime.diffusion.running import Order, PipelineRunner
from maia.services._runtime.diffusion.sizes import Size
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.services._runtime.revision import revision_of
from maia.services.generation.model import GeneratorInfo, Wish
from maia.wire.errors import MaiaError


class DiffusersGenerator:
    """Runs a pipeline; a `maia.services.generation.model.Generator`.

    Args:
        options: Which pipeline, and how. What is raised if it cannot be loaded: see `load`.
    """

    def __init__(self, options: DiffusionOptions) -> None:
        self._runner = PipelineRunner(load(options, "generation"), options)
        width, height = self._runner.size
        code = revision_of((Path(__file__).parent, Path(diffusion.__file__).parent))
        guide = prompt_guide(self._runner.loaded.recipe)
        self._info = GeneratorInfo(options.model, self._runner.revision(code), guide, width, height)

    @property
    def info(self) -> GeneratorInfo:
        """Its description."""
        return self._info

    def key(self, wish: Wish) -> Size:  # noqa: ARG002  steps and guidance are the same for all
        """Return the size of its pictures."""
        return self._runner.size

    def draw(self, wishes: Sequence[Wish], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Draw a batch in one run of the pipeline; see `PipelineRunner.run`."""
        return self._runner.run([Order(wish.prompt, wish.seed) for wish in wishes], self._runner.size, abandoned)
