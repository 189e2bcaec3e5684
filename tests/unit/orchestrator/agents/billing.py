"""Vendors that bill real prefixes: what of a request is read from a cache, and what is written to one.

A request is a list of blocks, each with an identity and a number of tokens: a text has one for every four characters,
a picture one for every 750 pixels. `Bill.weighted` counts as the vendors charge: a tenth for what is read, a quarter
more for what is written.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from maia.wire.pictures import read_header

LEAST = 1024
"""Tokens of the shortest prefix that is cached."""

LOOKBACK = 20
STEP = 128


@dataclass(frozen=True)
class Block:
    identity: bytes
    tokens: int
    point: bool = False


@dataclass(frozen=True)
class Bill:
    """Input tokens of one request."""

    fresh: int
    read: int = 0
    written: int = 0

    @property
    def tokens(self) -> int:
        return self.fresh + self.read + self.written

    @property
    def weighted(self) -> float:
        return self.fresh + 0.1 * self.read + 1.25 * self.written


@dataclass
class AnthropicBilling:
    """Entries are written at cache points, and found at one or at most 20 blocks before one."""

    entries: set[bytes] = field(default_factory=set)

    def bill(self, body: Mapping[str, Any]) -> Bill:
        blocks = [_anthropic(block) for block in body["system"]]
        for message in body["messages"]:
            blocks += [_anthropic(block, message["role"]) for block in message["content"]]
        prefixes, sums = _prefixes(blocks), _sums(blocks)
        points = [place for place, block in enumerate(blocks) if block.point and sums[place] >= LEAST]
        assert len(points) <= 4
        hits = [
            place
            for point in points
            for place in range(point, max(-1, point - LOOKBACK), -1)
            if prefixes[place] in self.entries
        ]
        read = sums[max(hits)] if hits else 0
        written = sums[points[-1]] - read if points else 0
        self.entries |= {prefixes[point] for point in points}
        return Bill(sums[-1] - read - written, read, written)

    def usage(self, bill: Bill) -> dict[str, int]:
        return {
            "input_tokens": bill.fresh,
            "output_tokens": 1,
            "cache_read_input_tokens": bill.read,
            "cache_creation_input_tokens": bill.written,
        }


@dataclass
class OpenAIBilling:
    """The longest prefix that an earlier request of the same key began with is read, in steps of 128 tokens."""

    seen: dict[str, list[list[Block]]] = field(default_factory=dict)

    def bill(self, body: Mapping[str, Any]) -> Bill:
        blocks = [block for message in body["messages"] for block in _openai(message)]
        earlier = self.seen.setdefault(body.get("prompt_cache_key", ""), [])
        common = max((_common(blocks, other) for other in earlier), default=0)
        read = common // STEP * STEP if common >= LEAST else 0
        earlier.append(blocks)
        return Bill(sum(block.tokens for block in blocks) - read, read)

    def usage(self, bill: Bill) -> dict[str, Any]:
        return {
            "prompt_tokens": bill.tokens,
            "completion_tokens": 1,
            "total_tokens": bill.tokens + 1,
            "prompt_tokens_details": {"cached_tokens": bill.read},
        }


def _anthropic(block: Mapping[str, Any], role: str = "system") -> Block:
    bare = {name: value for name, value in block.items() if name != "cache_control"}
    tokens = _text_tokens(block["text"]) if block["type"] == "text" else _picture_tokens(block["source"]["data"])
    return Block(_hash([role, bare]), tokens, "cache_control" in block)


def _openai(message: Mapping[str, Any]) -> list[Block]:
    content = message["content"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [
        Block(
            _hash([message["role"], part]),
            _text_tokens(part["text"])
            if part["type"] == "text"
            else _picture_tokens(part["image_url"]["url"].partition(",")[2]),
        )
        for part in parts
    ]


def _text_tokens(text: str) -> int:
    return math.ceil(len(text) / 4)


def _picture_tokens(data: str) -> int:
    header = read_header(base64.b64decode(data))
    return math.ceil(header.width * header.height / 750)


def _hash(value: object) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()


def _prefixes(blocks: list[Block]) -> list[bytes]:
    digest, prefixes = hashlib.sha256(), []
    for block in blocks:
        digest.update(block.identity)
        prefixes.append(digest.digest())
    return prefixes


def _sums(blocks: list[Block]) -> list[int]:
    total, sums = 0, []
    for block in blocks:
        total += block.tokens
        sums.append(total)
    return sums


def _common(blocks: list[Block], other: list[Block]) -> int:
    tokens = 0
    for one, two in zip(blocks, other, strict=False):
        if one.identity != two.identity:
            break
        tokens += one.tokens
    return tokens
