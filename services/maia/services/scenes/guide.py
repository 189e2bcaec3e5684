"""The text that tells a model, or a person, what the scene world can draw and edit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maia.services.scenes.scene import THING_COLOURS, Colour, Relation, Shape, Size, Texture
from maia.services.scenes.specification import MAX_DRAWN

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLE_PROMPTS: Final = (
    "a red circle",
    "a photo of two red striped circles above a blue square on a checkered background",
    "a large yellow star inside a purple ring",
    "three small dotted hearts on a plain green background",
    "a black cross in the top left corner and an orange hexagon on the right",
    "a solid pink diamond to the left of a brown crescent",
)
"""Prompts of every kind that the grammar knows; each of them is drawn without a warning."""

EXAMPLE_EDITS: Final = (
    "replace the circle with a star",
    "change the colour of the square to green",
    "make the background striped",
    "add a yellow ring",
    "remove the triangle",
)
"""Instructions of every kind that the editor knows."""

_INTRODUCTION: Final = (
    "Pictures are drawings of coloured, textured shapes on a background. Describe them in plain English with these"
    " words (common synonyms are understood; anything else is left out, with a warning):"
)
_LEFT_OPEN: Final = (
    "What a prompt leaves open (colour, texture, size, place) is drawn at random; the background is plain and neutral"
    " unless the prompt says otherwise."
)
_EDITING: Final = (
    "An edit names what it changes, and everything else stays as it is. Several may be joined by 'and'. Example edits:"
)


def prompt_guide() -> str:
    """Return the vocabulary, a line "Name: word, word" for each list, and example prompts, each after "- "."""
    lists: dict[str, Sequence[str]] = {
        "Shapes": tuple(Shape),
        "Colours": THING_COLOURS,
        "Textures": tuple(Texture),
        "Sizes": tuple(Size),
        "Relations": tuple(Relation),
        "Background colours": tuple(Colour),
        "Background textures": tuple(Texture),
    }
    lines = [
        _INTRODUCTION,
        *(f"{name}: {', '.join(words)}" for name, words in lists.items()),
        f"A picture shows at most {MAX_DRAWN} things. {_LEFT_OPEN}",
        "Example prompts:",
        *(f"- {prompt}" for prompt in EXAMPLE_PROMPTS),
    ]
    return "\n".join(lines)


def edit_guide() -> str:
    """Return what the editor understands: one sentence and example instructions, each after "- "."""
    return "\n".join([_EDITING, *(f"- {instruction}" for instruction in EXAMPLE_EDITS)])
