"""Makes text from models and tools fit to be read: nothing in it stays invisible or reorders what stands around it."""

from __future__ import annotations

import re
from typing import Final

# C0 and C1 controls but tab and newline; marks, embeddings, overrides and isolates of the bidirectional algorithm,
# which can make code read otherwise than it runs; lone surrogates, which no file can hold.
_UNSEEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Return the text with controls as pictures (␀), bidirectional ones as [U+202E], and line ends as newlines."""
    return _UNSEEN.sub(_shown, text.replace("\r\n", "\n"))


def shorten(text: str, limit: int, *, rest: str = "") -> str:
    """Return at most `limit` characters, and after a cut how many are missing.

    Args:
        text: Any.
        limit: Characters to keep.
        rest: Where the missing ones are, for example "in journal.jsonl".
    """
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… [{len(text) - limit:,} more characters{f' {rest}' if rest else ''}]"


def one_line(text: str, limit: int) -> str:
    """Return the text with its white space collapsed and at most `limit` characters, cut between words if it can be."""
    line = " ".join(text[: limit * 8].split())
    if len(line) <= limit:
        return line
    words, _, word = line[:limit].rpartition(" ")
    return (words if len(word) < limit // 2 else line[: limit - 1]) + "…"


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"[U+{code:04X}]" if not 0xD800 <= code <= 0xDFFF else "\ufffd"
