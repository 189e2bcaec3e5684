"""What a block's source must be before anything is done with it."""

from __future__ import annotations

from typing import Final

__all__ = ["MAX_SOURCE_BYTES", "checked_source"]

MAX_SOURCE_BYTES: Final = 1 << 20
"""Longest block, in bytes of UTF-8."""


def checked_source(code: object) -> str:
    """Return the source of a block.

    It is not parsed here: a parser outside the guest would be one more thing for hostile code to attack. What is text
    and no Python (NUL bytes, nesting that the parser cannot hold) is a syntax error of the block, raised before any of
    it runs.

    Raises:
        TypeError: It is no text.
        ValueError: It is too long, or holds a lone surrogate.
    """
    if not isinstance(code, str):
        raise TypeError(f"code must be text, not {type(code).__name__}")
    if len(code) > MAX_SOURCE_BYTES:  # before it is copied
        raise ValueError(f"at least {len(code):,} bytes of code; at most {MAX_SOURCE_BYTES:,} are allowed")
    try:
        size = len(code.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"the code holds a lone surrogate at character {error.start}, which is no text") from error
    if size > MAX_SOURCE_BYTES:
        raise ValueError(f"{size:,} bytes of code; at most {MAX_SOURCE_BYTES:,} are allowed")
    return code
