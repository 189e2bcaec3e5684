"""A check of prompts that only some models need."""

from __future__ import annotations

from maia.wire.errors import InvalidRequestError


def check_words(text: str, index: int) -> None:
    """Refuse a prompt or instruction without a word, of which a large model would make anything.

    Raises:
        InvalidRequestError: PROMPT_EMPTY, metadata "index".
    """
    if not text.strip():
        raise InvalidRequestError(
            f"prompt {index} is empty; say what the picture shall show",
            reason="PROMPT_EMPTY",
            metadata={"index": str(index)},
        )
