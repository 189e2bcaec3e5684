"""What of a conversation is sent, where all of it would be too much.

When its pictures or its estimated tokens reach a limit, the oldest pictures give way, each to its name in a line of
text, until half of the room is free. So this happens rarely, and between two such steps the conversation only grows:
what a vendor has cached of it stays as it was.

All of it is a function of the messages: the steps of earlier requests are found again from them, so that a run that
goes on in another process sends the same bytes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from maia.orchestrator.conversation import Message, Part, Picture, Text, merge_text

_PIXELS_PER_TOKEN: Final = 750
_BYTES_PER_TOKEN: Final = 3
"""Estimates on the safe side: Anthropic's rule for pictures, which is the dearest of the vendors', and text as dense as
code. A vendor counts by its own."""

_LEAST_TOKENS: Final = 85
_LINE_BYTES: Final = 120
"""Most of a line for a picture that gave way."""


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """What one request may hold; None where there is no limit, or none is known.

    Attributes:
        tokens: Of the system prompt and the messages.
        pictures: How many.
        picture_side: Longest side of each, in pixels.
        request_bytes: Of the whole request.
    """

    tokens: int | None = None
    pictures: int | None = None
    picture_side: int | None = None
    request_bytes: int | None = None


UNLIMITED: Final = ContextLimits()


@dataclass(slots=True)
class _Load:
    """What a request holds: pictures, and what texts and pictures take."""

    pictures: int = 0
    picture_bytes: int = 0
    picture_tokens: int = 0
    text_bytes: int = 0
    text_tokens: int = 0

    def add_text(self, size: int) -> None:
        # In JSON, and in the worst case, every second byte is escaped.
        self.text_bytes += 2 * size
        self.text_tokens += math.ceil(size / _BYTES_PER_TOKEN)

    def add(self, picture: Picture, sign: int = 1) -> None:
        self.pictures += sign
        self.picture_bytes += sign * _base64_bytes(picture)
        self.picture_tokens += sign * picture_tokens(picture)

    def replace(self, picture: Picture) -> None:
        self.add(picture, -1)
        self.add_text(_LINE_BYTES)

    def within(self, limits: ContextLimits, share: float) -> bool:
        """Whether the pictures take no more than a share of the room that the texts leave."""
        return all(
            limit is None or used <= share * max(0, limit - texts)
            for limit, texts, used in (
                (limits.pictures, 0, self.pictures),
                (limits.request_bytes, self.text_bytes, self.picture_bytes),
                (limits.tokens, self.text_tokens, self.picture_tokens),
            )
        )


_Place = tuple[int, int]
"""Of a picture: the message and the part."""


def fitted(system: str, messages: Sequence[Message], limits: ContextLimits) -> list[Message]:
    """Return the messages to send.

    The pictures of the last message give way only to each other, when they are too many alone; then its first ones
    stay. Texts are always sent: a conversation whose texts are too long is the vendor's to refuse.

    Args:
        system: The system prompt, which takes room too.
        messages: The whole conversation, from the user to the user.
        limits: Of one request.
    """
    gone = _gone(system, messages, limits)
    if not gone:
        return list(messages)
    return [
        _without(message, {part for place, part in gone if place == number}) for number, message in enumerate(messages)
    ]


def picture_tokens(picture: Picture) -> int:
    """Estimate the tokens of a picture."""
    return max(_LEAST_TOKENS, math.ceil(picture.width * picture.height / _PIXELS_PER_TOKEN))


def _gone(system: str, messages: Sequence[Message], limits: ContextLimits) -> set[_Place]:
    """Go through all requests of the conversation, and return the pictures that have given way by the last one."""
    gone: set[_Place] = set()
    if limits == UNLIMITED:
        return gone
    load = _Load()
    load.add_text(len(system.encode()))
    kept: deque[tuple[_Place, Picture]] = deque()
    for number, message in enumerate(messages):
        fresh: deque[tuple[_Place, Picture]] = deque()
        for place, part in enumerate(message.parts):
            if isinstance(part, Text):
                load.add_text(len(part.text.encode()))
                continue
            load.add(part)
            if limits.picture_side is not None and max(part.width, part.height) > limits.picture_side:
                gone.add((number, place))
                load.replace(part)
            else:
                fresh.append(((number, place), part))
        if message.role == "user" and not load.within(limits, 1.0):
            while kept and not load.within(limits, 0.5):
                _drop(kept.popleft(), load, gone)
            while fresh and not load.within(limits, 1.0):
                _drop(fresh.pop(), load, gone)
        kept += fresh
    return gone


def _drop(item: tuple[_Place, Picture], load: _Load, gone: set[_Place]) -> None:
    place, picture = item
    gone.add(place)
    load.replace(picture)


def _without(message: Message, gone: set[int]) -> Message:
    """Return a message with a line of text for each run of pictures that have given way."""
    if not gone:
        return message
    parts: list[Part] = []
    for missing, run in groupby(enumerate(message.parts), key=lambda item: item[0] in gone):
        members = [part for _, part in run]
        parts += [Text(_line([part for part in members if isinstance(part, Picture)]))] if missing else members
    return Message(message.role, merge_text(parts))


def _line(pictures: Sequence[Picture]) -> str:
    names = ", ".join(picture.name for picture in pictures if picture.name)
    if len(pictures) == 1:
        return (
            f"[picture {names} was shown here; display it again to see it]" if names else "[a picture was shown here]"
        )
    unnamed = sum(not picture.name for picture in pictures)
    if not names:
        return f"[{unnamed} pictures were shown here]"
    more = f" and {unnamed} more" if unnamed else ""
    return f"[pictures {names}{more} were shown here; display them again to see them]"


def _base64_bytes(picture: Picture) -> int:
    return 4 * math.ceil(len(picture.data) / 3) + 200  # with the block around it
