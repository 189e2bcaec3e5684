"""The one request of a call, read once its caller is admitted, and how much of a server's memory requests may take.

gRPC would read a request of up to 64 MiB before a handler learns of the call, so that whoever connects, and be it with
a certificate that may not call here, could fill the server's memory. Here every handler takes a stream, from which
nothing is read until somebody asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from google.protobuf.message import DecodeError

from maia.wire.errors import DeadlineExceededError, InvalidRequestError, OverloadedError
from maia.wire.limits import REQUEST_S

Read: TypeAlias = Callable[[bytes], object]

_RETRY_AFTER_S: Final = 1.0


class Held:
    """Bounds the bytes of the requests that a server holds, which may wait for minutes with a picture in each.

    Args:
        most: Bytes; more are refused. One alone may have more.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count a request while it waits or is answered.

        Raises:
            OverloadedError: QUEUE_FULL.
        """
        if self._bytes and self._bytes + size > self._most:
            raise OverloadedError(
                f"the requests that wait here have {self._bytes} bytes, and {size} more would be over {self._most}; "
                f"ask again in {_RETRY_AFTER_S:g} s",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size


async def only_request(requests: AsyncIterator[bytes], turns: asyncio.Semaphore) -> bytes:
    """Return the one request of a call.

    Args:
        requests: What comes; whatever comes after the first is left.
        turns: How many of its client's may come at the same time.

    Raises:
        InvalidRequestError: REQUEST_MALFORMED: none came.
        DeadlineExceededError: REQUEST_SLOW.
    """
    async with turns:
        try:
            async with asyncio.timeout(REQUEST_S):
                found = await anext(requests, None)
        except TimeoutError:
            raise DeadlineExceededError(
                f"the request did not come within {REQUEST_S:g} s of the call", reason="REQUEST_SLOW"
            ) from None
    if found is None:
        raise InvalidRequestError("the call ended before its request came", reason="REQUEST_MALFORMED")
    return found


def parsed(read: Read, data: bytes) -> object:
    """Return what bytes mean.

    Raises:
        InvalidRequestError: REQUEST_MALFORMED.
    """
    try:
        return read(data)
    except DecodeError:
        raise InvalidRequestError(
            f"these {len(data)} bytes are no message of this call; does the client speak the same version?",
            reason="REQUEST_MALFORMED",
        ) from None
