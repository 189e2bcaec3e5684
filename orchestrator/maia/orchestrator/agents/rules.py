"""What the vendors' APIs demand of a conversation, as a check of the body that would be sent.

Messages alternate, the first and the last are the user's, nothing in them is blank, and a picture is what its media
type says. Limits are those of the vendors' documentation in November 2026: Anthropic 100 pictures (600 for models with
a context of more than 200k tokens, see `models.toml`), 5 MB each, 8000 px a side and 2000 px where there are more than
20, 32 MB a request, 4 cache points; OpenAI 500 pictures of 20 MB, 50 MB together. Compatible servers have limits of
their own.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from maia.wire.errors import MaiaError
from maia.wire.pictures import read_header

Vendor = Literal["anthropic", "openai"]


@dataclass(frozen=True, slots=True)
class Limits:
    """A vendor's limits on pictures. `crowd_side` holds where there are more than `crowd` of them."""

    pictures: int
    picture_bytes: int
    side: int
    crowd: int
    crowd_side: int
    request_bytes: int


LIMITS: Final[Mapping[Vendor, Limits]] = {
    "anthropic": Limits(100, 5 << 20, 8000, 20, 2000, 32 << 20),
    "openai": Limits(500, 20 << 20, 65_535, 500, 65_535, 50 << 20),
}
CACHE_POINTS: Final = 4
_DATA_URL: Final = re.compile(r"data:(?P<type>[a-z]+/[a-z]+);base64,(?P<data>.*)", re.DOTALL)
_TYPES: Final = frozenset({"image/png", "image/jpeg", "image/webp"})


@dataclass(frozen=True, slots=True)
class _Picture:
    media_type: str
    base64: str


_Turn = tuple[str, Sequence[str | _Picture]]


def broken_rules(vendor: Vendor, body: Mapping[str, Any], *, pictures: int | None = None) -> list[str]:
    """Return a sentence for every rule that a request breaks; none for a good one.

    Args:
        vendor: "openai" for Chat Completions of any server.
        body: The request's JSON.
        pictures: Most of them that the model takes; None for what all models of the vendor take.
    """
    limits = LIMITS[vendor] if pictures is None else replace(LIMITS[vendor], pictures=pictures)
    if vendor == "anthropic":
        return [*_anthropic_form(body), *_conversation(_anthropic_turns(body), limits)]
    return [*_openai_form(body), *_conversation(_openai_turns(body), limits)]


def _conversation(turns: Sequence[_Turn], limits: Limits) -> Iterator[str]:
    roles = [role for role, _ in turns]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        yield f"the roles are {', '.join(roles) or 'none'}; they must alternate, from the user to the user"
    for number, (_, parts) in enumerate(turns, 1):
        if not parts:
            yield f"message {number} has no part"
        if any(isinstance(part, str) and not part.strip() for part in parts):
            yield f"message {number} has a blank text"
    pictures = [part for _, parts in turns for part in parts if isinstance(part, _Picture)]
    if len(pictures) > limits.pictures:
        yield f"{len(pictures)} pictures, where {limits.pictures} may be sent"
    total = sum(len(picture.base64) for picture in pictures)
    if total > limits.request_bytes:
        yield f"pictures of {total} bytes, where a request may have {limits.request_bytes}"
    side = limits.crowd_side if len(pictures) > limits.crowd else limits.side
    for number, picture in enumerate(pictures, 1):
        for problem in _picture_problems(picture, limits.picture_bytes, side):
            yield f"picture {number}: {problem}"


def _picture_problems(picture: _Picture, most_bytes: int, side: int) -> Iterator[str]:
    if picture.media_type not in _TYPES:
        yield f"media type {picture.media_type!r}"
    if len(picture.base64) > most_bytes:
        yield f"{len(picture.base64)} bytes of base64, where {most_bytes} may be sent"
    try:
        header = read_header(base64.b64decode(picture.base64, validate=True))
    except (binascii.Error, MaiaError) as error:
        yield f"not a picture: {error}"
        return
    if header.media_type != picture.media_type:
        yield f"said to be {picture.media_type}, is {header.media_type}"
    if max(header.width, header.height) > side:
        yield f"{header.width} × {header.height} pixels, where a side may have {side}"


def _anthropic_form(body: Mapping[str, Any]) -> Iterator[str]:
    yield from _head(body, ("max_tokens",))
    system = body.get("system", [])
    texts = [system] if isinstance(system, str) else [block["text"] for block in system]
    if not texts or not all(text.strip() for text in texts):
        yield "the system prompt is blank"
    contents = [message["content"] for message in body["messages"] if not isinstance(message["content"], str)]
    blocks = [block for content in [*contents, system if isinstance(system, list) else []] for block in content]
    points = sum("cache_control" in block for block in blocks) + ("cache_control" in body)
    if points > CACHE_POINTS:
        yield f"{points} cache points, where {CACHE_POINTS} may be set"


def _openai_form(body: Mapping[str, Any]) -> Iterator[str]:
    yield from _head(body, ("max_completion_tokens", "max_tokens"))
    roles = [message["role"] for message in body["messages"]]
    if roles[:1] != ["system"] or not body["messages"][0]["content"].strip():
        yield "the first message is not the system prompt, or that is blank"
    if len(body.get("prompt_cache_key", "")) > 64:
        yield "prompt_cache_key has more than 64 characters"


def _head(body: Mapping[str, Any], limit_fields: Sequence[str]) -> Iterator[str]:
    if not body.get("model"):
        yield "no model is named"
    given = [name for name in limit_fields if name in body]
    if len(given) != 1 or body[given[0]] < 1:
        yield f"not exactly one positive limit of the reply ({' or '.join(limit_fields)})"


def _anthropic_turns(body: Mapping[str, Any]) -> list[_Turn]:
    return [(message["role"], [_anthropic_part(block) for block in _blocks(message)]) for message in body["messages"]]


def _openai_turns(body: Mapping[str, Any]) -> list[_Turn]:
    turns = body["messages"]
    if turns and turns[0]["role"] == "system":
        turns = turns[1:]
    return [(message["role"], [_openai_part(block) for block in _blocks(message)]) for message in turns]


def _blocks(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _anthropic_part(block: Mapping[str, Any]) -> str | _Picture:
    match block:
        case {"type": "text", "text": str() as text}:
            return text
        case {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}:
            return _Picture(media_type, data)
        case _:
            raise ValueError(f"a content block that this check does not know: {block.get('type')!r}")


def _openai_part(block: Mapping[str, Any]) -> str | _Picture:
    match block:
        case {"type": "text", "text": str() as text}:
            return text
        case {"type": "image_url", "image_url": {"url": str() as url}}:
            found = _DATA_URL.fullmatch(url)
            return _Picture(found["type"], found["data"]) if found else _Picture("", url)
        case _:
            raise ValueError(f"a content part that this check does not know: {block.get('type')!r}")
