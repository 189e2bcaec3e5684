"""What comes back from a vision-language model, made one line, or told to be none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from maia.services.description.model import Question
from maia.wire.errors import InternalError, MaiaError, PreconditionError

__all__ = ["NOTHING", "Answer", "answered", "line"]

Answer: TypeAlias = str | MaiaError

NOTHING: Final = "nothing"
"""Of views of which all is darkened; the scene world's word too."""

_CUT: Final = "…"
_THOUGHT_ENDS: Final = "</think>"
_THOUGHT_BEGINS: Final = "<think>"


def answered(questions: Sequence[Question], ask: Callable[[Sequence[Question]], Sequence[Answer]]) -> list[Answer]:
    """Return an answer for each question; NOTHING, without asking, where nothing is highlighted.

    Args:
        questions: Of one batch.
        ask: Answers all others together, unless there are none.
    """
    others = [question for question in questions if not _empty(question)]
    answers = iter(ask(others) if others else ())
    return [NOTHING if _empty(question) else next(answers) for question in questions]


def line(text: str, question: Question, *, cut: bool, limit: int, model: str) -> Answer:
    """Return an answer as one line.

    Args:
        text: As the model wrote it; what it thought aloud before, between <think> and </think>, is left out.
        question: What was asked, for the error.
        cut: The model would have written more; the line then ends in "…".
        limit: Tokens that it had, for the error.
        model: Its name, for the error.

    Returns:
        The line; or DESCRIPTION_EMPTY, metadata "index" of a single picture, if there is none.
    """
    said = text.rpartition(_THOUGHT_ENDS)[2].partition(_THOUGHT_BEGINS)[0]
    words = " ".join("".join(letter if letter.isprintable() else " " for letter in said).split())
    if words:
        return words + _CUT if cut else words
    metadata = {} if question.place is None else {"index": str(question.place)}
    if cut:
        return PreconditionError(
            f"{model:.100} used up its {limit} tokens before it said a word of {question.what}; raise --max-tokens",
            reason="DESCRIPTION_EMPTY",
            metadata=metadata,
        )
    return InternalError(
        f"{model:.100} said nothing of {question.what}; choose another --model",
        reason="DESCRIPTION_EMPTY",
        metadata=metadata,
    )


def _empty(question: Question) -> bool:
    return all(view.empty for view in question.views)
