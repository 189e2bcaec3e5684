"""The generator `scenes`: reads a prompt with the scene world's grammar and draws it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maia.services import scenes
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.services._runtime.revision import revision_of
from maia.services.generation.model import GeneratorInfo, Wish
from maia.services.scenes.compose import compose
from maia.services.scenes.grammar import parse
from maia.services.scenes.guide import prompt_guide
from maia.services.scenes.png import encode
from maia.services.scenes.render import DEFAULT_SIZE, render
from maia.wire.errors import CancelledError, MaiaError


class SceneGenerator:
    """Draws what the grammar understands, and says what it does not; a `maia.services.generation.model.Generator`."""

    def __init__(self) -> None:
        width, height = DEFAULT_SIZE
        code = revision_of((Path(__file__).parent, Path(scenes.__file__).parent))
        self._info = GeneratorInfo("scenes", code, prompt_guide(), width, height, takes_empty=True)

    @property
    def info(self) -> GeneratorInfo:
        """Its description."""
        return self._info

    def key(self, wish: Wish) -> str:  # noqa: ARG002  any wishes may be drawn together
        """Return the same for all."""
        return "scenes"

    def draw(self, wishes: Sequence[Wish], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Draw a batch; each PNG carries its scene, which the editor uses."""
        return [_drawn(wish, abandoned) for wish in wishes]


def _drawn(wish: Wish, abandoned: Abandoned) -> MadePicture:
    if abandoned():
        raise CancelledError("nobody waits for these pictures any more")
    parsed = parse(wish.prompt)
    scene, warnings = compose(parsed.specification, wish.seed)
    return MadePicture(encode(scene, render(scene)), (*parsed.warnings, *warnings))
