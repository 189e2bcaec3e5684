"""What passes between the loop and a backbone: messages of text and pictures, and replies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

CUT: Final = frozenset({"max_tokens", "length", "model_context_window_exceeded"})
"""The vendors' words for a reply that ended at a limit on its length."""

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture, named by its content so that the same picture has the same bytes in every request.

    Attributes:
        data: The file's bytes.
        media_type: The true one: "image/png", "image/jpeg" or "image/webp".
        width: Pixels.
        height: Pixels.
        name: The reference that the agent's code knew it by when it was shown; empty where it has none. Never sent.
    """

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    name: str = field(default="", compare=False)

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the bytes; the picture's file name beside the journal."""
        return hashlib.sha256(self.data).hexdigest()


Part = Text | Picture


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. An assistant's message holds exactly one Text, as it came."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return "\n".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens of one request as the vendor counted them; `input` leaves out what was read from or written to a cache."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What a backbone answered.

    Attributes:
        text: As it came; may be empty.
        model: The model that the vendor says answered.
        usage: Zero for backbones that have no tokens.
        stop_reason: The vendor's word, for example "end_turn" or "max_tokens".
    """

    text: str
    model: str
    usage: TokenUsage = TokenUsage()
    stop_reason: str = ""

    @property
    def cut(self) -> bool:
        """Whether the model had more to say."""
        return self.stop_reason in CUT


def merge_text(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Join neighbouring texts by newlines and drop empty ones, so that requests hold as few parts as possible."""
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, Text) and not part.text:
            continue
        if isinstance(part, Text) and isinstance(last, Text):
            merged[-1] = Text(f"{last.text}\n{part.text}")
        else:
            merged.append(part)
    return tuple(merged)
