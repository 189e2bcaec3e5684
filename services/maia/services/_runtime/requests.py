"""Checks that several services make of a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import TypeVar

from maia.wire.errors import InvalidRequestError
from maia.wire.limits import MAX_PICTURES, MAX_PROMPT_CHARS

_T = TypeVar("_T")


def check_count(items: Sized, what: str) -> None:
    """Refuse a request with nothing in it or with too much.

    Raises:
        InvalidRequestError: REQUEST_EMPTY or REQUEST_TOO_LARGE.
    """
    if not len(items):
        raise InvalidRequestError(f"the request has no {what}; send at least one", reason="REQUEST_EMPTY")
    if len(items) > MAX_PICTURES:
        raise InvalidRequestError(
            f"the request has {len(items)} {what}s; send at most {MAX_PICTURES} at a time",
            reason="REQUEST_TOO_LARGE",
            metadata={"limit": str(MAX_PICTURES)},
        )


def check_prompt(text: str, index: int) -> None:
    """Refuse a prompt or instruction that is too long.

    Raises:
        InvalidRequestError: PROMPT_TOO_LONG, metadata "index" and "limit".
    """
    if len(text) > MAX_PROMPT_CHARS:
        raise InvalidRequestError(
            f"prompt {index} has {len(text)} characters; at most {MAX_PROMPT_CHARS} are accepted",
            reason="PROMPT_TOO_LONG",
            metadata={"index": str(index), "limit": str(MAX_PROMPT_CHARS)},
        )


def batches(items: Sequence[_T], size: int) -> Iterator[tuple[int, Sequence[_T]]]:
    """Yield (index of the first, at most `size` items) until all are through."""
    for start in range(0, len(items), size):
        yield start, items[start : start + size]
