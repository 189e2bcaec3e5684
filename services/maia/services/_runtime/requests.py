"""Checks that several services make of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence, Sized
from typing import Any, Final, NamedTuple, TypeVar

import grpc

from maia.services._runtime.fairness import Principal
from maia.type.v1 import type_pb2
from maia.wire.access import authenticated_client
from maia.wire.errors import InvalidRequestError
from maia.wire.limits import MAX_BATCH_PIXELS, MAX_MESSAGE_BYTES, MAX_PICTURE_PIXELS, MAX_PICTURES, MAX_PROMPT_CHARS
from maia.wire.pictures import read_header

_T = TypeVar("_T")

_MAX_SESSION_CHARS: Final = 128
_MESSAGE_EXTRA: Final = 1 << 20  # what is around the pictures: warnings


class Size(NamedTuple):
    """Of a picture, upright."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        """All of them."""
        return self.width * self.height


def principal_of(context: grpc.aio.ServicerContext[Any, Any]) -> Principal:
    """Return who makes a call: by token or certificate where there is one, then by the run or session that it names."""
    sent = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    session = sent.get("maia-session") or sent.get("maia-run") or context.peer()
    return Principal(authenticated_client(), session[:_MAX_SESSION_CHARS])


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


def check_fits(files: Sequence[bytes]) -> None:
    """Refuse an answer that would be larger than a message.

    Raises:
        InvalidRequestError: REQUEST_TOO_LARGE, metadata "limit".
    """
    size = sum(map(len, files))
    if size > MAX_MESSAGE_BYTES - _MESSAGE_EXTRA:
        raise InvalidRequestError(
            f"{len(files)} pictures have {size} bytes, a message at most {MAX_MESSAGE_BYTES}; ask for fewer at a time",
            reason="REQUEST_TOO_LARGE",
            metadata={"limit": str(MAX_MESSAGE_BYTES)},
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


def batches(items: Sequence[_T], size: int) -> Iterator[tuple[int, Sequence[_T]]]:
    """Yield (index of the first, at most `size` items) until all are through."""
    for start in range(0, len(items), size):
        yield start, items[start : start + size]


async def picture_batches(pictures: Sequence[type_pb2.Picture], size: int) -> list[range]:
    """Return which pictures are worked on together: at most `size`, and MAX_BATCH_PIXELS unless one alone has more.

    A small file can hold a huge picture, so that a count alone would not bound the memory. Headers are read in a
    thread, since a hostile one takes its time.

    Raises:
        InvalidRequestError: PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index".
    """
    batch_of: list[range] = []
    start = pixels = 0
    for index, added in enumerate(await asyncio.to_thread(_pixels, pictures)):
        if index > start and (index - start == size or pixels + added > MAX_BATCH_PIXELS):
            batch_of.append(range(start, index))
            start, pixels = index, 0
        pixels += added
    return [*batch_of, range(start, len(pictures))]


async def check_together(pictures: Sequence[type_pb2.Picture]) -> None:
    """Refuse pictures that are too large to be held decoded all at once.

    Raises:
        InvalidRequestError: REQUEST_TOO_LARGE, metadata "limit"; or as `picture_batches`.
    """
    pixels = sum(await asyncio.to_thread(_pixels, pictures))
    if pixels > MAX_PICTURE_PIXELS:
        raise InvalidRequestError(
            f"the pictures have {pixels} pixels together; send at most {MAX_PICTURE_PIXELS} at a time",
            reason="REQUEST_TOO_LARGE",
            metadata={"limit": str(MAX_PICTURE_PIXELS)},
        )


def picture_sizes(pictures: Sequence[type_pb2.Picture], *, start: int = 0) -> list[Size]:
    """Return the size of each, from the headers; a hostile one takes its time.

    Args:
        pictures: Of a request, or a part of it.
        start: Place of the first in the request, for errors.

    Raises:
        InvalidRequestError: PICTURE_UNREADABLE or PICTURE_TOO_LARGE, metadata "index".
    """
    return [picture_size(picture, index) for index, picture in enumerate(pictures, start)]


def picture_size(picture: type_pb2.Picture, index: int) -> Size:
    """Return the size of one, as `picture_sizes`."""
    header = read_header(picture.data, index=index)
    return Size(header.width, header.height)


def _pixels(pictures: Sequence[type_pb2.Picture]) -> list[int]:
    return [size.pixels for size in picture_sizes(pictures)]
