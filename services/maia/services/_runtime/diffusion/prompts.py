"""How much of a prompt a pipeline reads: text encoders cut without a word what is too long."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from maia.services._runtime.diffusion.loading import Pipeline

_CLIP: Final = 77
"""Tokens that CLIP's text encoder has places for, the two at the ends included."""


class Encoded(Protocol):
    """Tokens of one text."""

    input_ids: Sequence[int]


class Tokenizer(Protocol):
    """What is needed of one of transformers' tokenizers."""

    model_max_length: int

    def __call__(self, text: str, *, truncation: bool, verbose: bool) -> Encoded: ...


class Reader:
    """Knows a pipeline's tokenizers and how many tokens each may give.

    Args:
        pipeline: Loaded.
        takes: Names of its parameters.
        extra: Arguments that it is called with.
    """

    def __init__(self, pipeline: Pipeline, takes: frozenset[str], extra: Mapping[str, object]) -> None:
        self._limits: list[tuple[Tokenizer, int]] = []
        for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
            tokenizer = getattr(pipeline, name, None)
            if tokenizer is not None:
                self._limits.append((tokenizer, _limit(pipeline, tokenizer, takes, extra)))

    def cut(self, prompt: str) -> tuple[str, ...]:
        """Return a warning if no text encoder reads the whole prompt."""
        longest: tuple[int, int] | None = None
        for tokenizer, limit in self._limits:
            tokens = len(tokenizer(prompt, truncation=False, verbose=False).input_ids)
            if tokens <= limit:
                return ()
            longest = max(longest or (0, 0), (limit, tokens))
        if longest is None:
            return ()
        return (f"the prompt has {longest[1]} tokens, of which the model read the first {longest[0]}",)


def _limit(pipeline: Pipeline, tokenizer: Tokenizer, takes: frozenset[str], extra: Mapping[str, object]) -> int:
    own = int(tokenizer.model_max_length)
    if type(tokenizer).__name__.startswith("CLIP"):
        return min(own, _CLIP)
    if "max_sequence_length" not in takes:
        return own
    default = inspect.signature(pipeline.__call__).parameters["max_sequence_length"].default
    chosen = extra.get("max_sequence_length", default)
    return chosen if isinstance(chosen, int) else own
