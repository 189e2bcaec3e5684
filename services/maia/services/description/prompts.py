"""What a vision-language model is asked about views, in our words."""

from __future__ import annotations

from typing import Final

from maia.services.description.model import Question, Task

__all__ = ["prompt"]

_WHAT: Final = (
    "Name the things or their parts, and their colours, textures and materials, as exactly as you can see them."
)
_FORM: Final = "Answer in one plain English sentence, without an introduction."
_DARKENED: Final = "was darkened on purpose, except for one or more regions that kept their brightness"
_ONLY_BRIGHT: Final = "Leave out whatever lies in the dark, and do not mention the darkening."


def prompt(question: Question) -> str:
    """Return the text that goes with the pictures of a question, which are shown as `View.shown`."""
    masked = [view.masked for view in question.views]
    if len(masked) == 1:
        return _about_one(masked=masked[0])
    assert question.task is Task.SUMMARIZE, "a description is of one view"
    return _about_all(masked)


def _about_one(*, masked: bool) -> str:
    if not masked:
        return f"What does this picture show? {_WHAT} {_FORM}"
    return f"This picture {_DARKENED}. What do these bright regions show? {_WHAT} {_ONLY_BRIGHT} {_FORM}"


def _about_all(masked: list[bool]) -> str:
    common = f"Speak of what all or nearly all of them share, not of one alone. {_WHAT}"
    if not any(masked):
        return f"What do these {len(masked)} pictures have in common? {common} {_FORM}"
    if all(masked):
        told = f"Each of these {len(masked)} pictures {_DARKENED}. What do the bright regions have in common?"
    else:
        told = (
            f"Of these {len(masked)} pictures, {_listed(masked)} {_DARKENED}. What do the bright regions of those, and "
            "the others as a whole, have in common?"
        )
    return f"{told} {common} {_ONLY_BRIGHT} {_FORM}"


def _listed(masked: list[bool]) -> str:
    """Which pictures are darkened, counted from 1."""
    numbers = [str(place) for place, dark in enumerate(masked, 1) if dark]
    if len(numbers) == 1:
        return f"number {numbers[0]}"
    return f"each of the numbers {', '.join(numbers[:-1])} and {numbers[-1]}"
