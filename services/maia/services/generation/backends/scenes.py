"""The generator `scenes`: reads a prompt with the scene world's grammar and draws it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maia.services import scenes
from maia.services._runtime.revision import revision_of
from maia.services.generation.model import Drawing, GeneratorInfo, Wish
from maia.services.scenes.compose import compose
from maia.services.scenes.grammar import parse
from maia.services.scenes.guide import prompt_guide
from maia.services.scenes.png import encode
from maia.services.scenes.render import DEFAULT_SIZE, render


class SceneGenerator:
    """Draws what the grammar understands, and says what it does not; a `maia.services.generation.model.Generator`."""

    def __init__(self) -> None:
        width, height = DEFAULT_SIZE
        folders = (Path(__file__).parent, Path(scenes.__file__).parent)
        self._info = GeneratorInfo("scenes", revision_of(folders), prompt_guide(), width, height)

    @property
    def info(self) -> GeneratorInfo:
        """Its description."""
        return self._info

    def draw(self, wishes: Sequence[Wish]) -> list[Drawing]:
        """Draw a batch; each PNG carries its scene, which the editor uses."""
        return [_drawn(wish) for wish in wishes]


def _drawn(wish: Wish) -> Drawing:
    parsed = parse(wish.prompt)
    scene, warnings = compose(parsed.specification, wish.seed)
    return Drawing(encode(scene, render(scene)), (*parsed.warnings, *warnings))
