"""A vendor's API, asked from a server by the vendor's own SDK.

Vendors, and the servers between, quote what they were sent, keys included. So what they say is cut short and stripped
of the key, and errors come back as ours. The SDKs of OpenAI and Anthropic name their errors alike.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import SecretStr

from maia.services._runtime.jobs import Abandoned
from maia.wire.errors import (
    CancelledError,
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)

if TYPE_CHECKING:
    import openai

__all__ = ["CONNECT_S", "Asked", "Vendor", "answers", "key_of_environment", "openai_client"]

_T = TypeVar("_T")

CONNECT_S: Final = 10.0
"""Seconds to make a connection."""

_RETRIES: Final = 2
_LOOK_S: Final = 0.1
"""How often a waiting batch asks whether anybody still waits for it."""
_RETRY_AFTER_S: Final = 10.0
_LONGEST_RETRY_S: Final = 600.0
_LONGEST: Final = 300
_KEY_HEAD: Final = 8
_REFUSED: Final = re.compile(r"moderation|content_policy|safety", re.IGNORECASE)
_NO_CREDIT: Final = re.compile(r"insufficient_quota|billing|credit balance", re.IGNORECASE)
_TOO_LARGE: Final = re.compile(
    r"context_length_exceeded|maximum context|prompt is too long|too many images|request_too_large", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a vendor was asked about, for errors.

    Attributes:
        what: "prompt 3".
        index: Its place in the caller's request; None where it is not one thing of it.
    """

    what: str
    index: int | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """Of an error about it."""
        return {} if self.index is None else {"index": str(self.index)}


@dataclass(frozen=True, slots=True)
class Vendor:
    """Which model, where, and how long an answer may take.

    Attributes:
        model: As the vendor calls it.
        address: Base URL.
        key_variable: The environment variable that holds the key.
        key: None only for a server of one's own.
        attempt_s: Seconds that one attempt may stay silent.
        patience_s: Seconds for an answer, with all attempts and the waits between them.
        adjustable: Whether an operator can choose these limits, by --attempt-s and --patience-s.
    """

    model: str
    address: str
    key_variable: str
    key: SecretStr | None = field(repr=False)
    attempt_s: float = 300.0
    patience_s: float = math.inf
    adjustable: bool = False

    @property
    def retries(self) -> int:
        """Further attempts after a fault that may pass; the SDK makes them."""
        return _RETRIES

    async def answer(self, sdk: ModuleType, ask: Callable[[], Awaitable[_T]], asked: Asked) -> _T | MaiaError:
        """Return the vendor's answer, or our error for what went wrong.

        Args:
            sdk: The vendor's.
            ask: Asks once; the SDK tries again by itself.
            asked: About what.
        """
        errors: Any = sdk
        try:
            async with asyncio.timeout(None if math.isinf(self.patience_s) else self.patience_s):
                return await ask()
        except errors.APIStatusError as error:
            return self._failure(error, asked)
        except errors.APITimeoutError:
            return self._too_slow(f"{self.attempt_s:g} s, {1 + self.retries} times in a row", "--attempt-s")
        except errors.APIConnectionError:
            return UnavailableError(
                f"the vendor is out of reach at {self.address}; check network and --base-url",
                reason="VENDOR_UNAVAILABLE",
            )
        except TimeoutError:
            return self._too_slow(f"{self.patience_s:g} s with all attempts", "--patience-s")

    def unreadable(self, wanted: str) -> UnavailableError:
        """Return the error for a successful answer that is none.

        Args:
            wanted: What it lacks, and what it must have.
        """
        return UnavailableError(f"the vendor's answer {wanted}", reason="VENDOR_UNREADABLE")

    def refusal(self, said: str, asked: Asked) -> InvalidRequestError:
        """Return the error for a vendor whose rules refuse what it was asked, in its own words."""
        return InvalidRequestError(
            f"the vendor's rules refuse {asked.what}: {self._clean(said)}",
            reason="CONTENT_REFUSED",
            metadata=asked.metadata,
        )

    def _too_slow(self, limit: str, flag: str) -> UnavailableError:
        advice = f"; ask again later, or raise {flag}" if self.adjustable else "; ask again later"
        return UnavailableError(f"the vendor did not answer within {limit}{advice}", reason="VENDOR_TOO_SLOW")

    def _failure(self, error: Any, asked: Asked) -> MaiaError:  # noqa: ANN401  either SDK's APIStatusError
        status, said = error.status_code, self._clean(_words(error.body))
        no_credit = bool(_NO_CREDIT.search(said))
        if status == 429 and not no_credit:
            return OverloadedError(
                f"the vendor limits the rate of requests: {said}",
                retry_after_s=_retry_after(error.response.headers.get("retry-after")),
                reason="VENDOR_OVERLOADED",
            )
        if status in {401, 402, 403, 429} or (status == 400 and no_credit):
            advice = "add credit" if no_credit else f"check the key in {self.key_variable}"
            return PreconditionError(f"the vendor answered {status}: {said}; {advice}", reason="KEY_REFUSED")
        if status == 404:
            return PreconditionError(
                f"the vendor has no model {self.model:.100} here: {said}; check --model and --base-url",
                reason="MODEL_MISSING",
            )
        if status in {408, 409} or status >= 500:
            return UnavailableError(f"the vendor has a fault, {status}: {said}", reason="VENDOR_UNAVAILABLE")
        return self._not_taken(status, said, asked)

    def _not_taken(self, status: int, said: str, asked: Asked) -> InvalidRequestError:
        if status == 413 or _TOO_LARGE.search(said):
            return InvalidRequestError(
                f"the vendor cannot take so much at once: {said}; ask about fewer or smaller pictures",
                reason="REQUEST_TOO_LARGE",
            )
        if _REFUSED.search(said):
            return self.refusal(said, asked)
        return InvalidRequestError(
            f"the vendor does not take {asked.what}: {said}", reason="VENDOR_REQUEST_REFUSED", metadata=asked.metadata
        )

    def _clean(self, text: str) -> str:
        """One short printable line without the key, which some repeat, whole or in part."""
        if self.key:
            secret = self.key.get_secret_value()
            text = text.replace(secret, "[key]")
            if len(secret) > 12:
                text = re.sub(re.escape(secret[:_KEY_HEAD]) + r"\S*", "[key]", text)
        text = re.sub(r"\S*\*{3,}\S*|\bsk-\S+", "[key]", text[: _LONGEST * 4])
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_LONGEST]


def key_of_environment(variable: str) -> SecretStr | None:
    """Return a vendor's key, None if the environment has none."""
    key = os.environ.get(variable)
    return SecretStr(key) if key else None


async def answers(asks: Sequence[Callable[[], Awaitable[_T]]], parallel: int, abandoned: Abandoned) -> list[_T]:
    """Ask several things, some at once.

    Args:
        asks: Each asks one.
        parallel: How many at once.
        abandoned: Whether nobody waits for any of them any more.

    Raises:
        CancelledError: It is so.
    """
    turns = asyncio.Semaphore(parallel)

    async def one(ask: Callable[[], Awaitable[_T]]) -> _T:
        async with turns:
            return await ask()

    tasks = [asyncio.create_task(one(ask)) for ask in asks]
    try:
        waiting: set[asyncio.Task[_T]] = set(tasks)
        while waiting:
            if abandoned():
                raise CancelledError("nobody waits for these answers any more; the vendor was not asked on")
            _, waiting = await asyncio.wait(waiting, timeout=_LOOK_S)
        return [task.result() for task in tasks]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def openai_client(vendor: Vendor, *, own_server: bool) -> openai.AsyncOpenAI:
    """Return a client of OpenAI, or of any server that speaks its protocol.

    Args:
        vendor: Whom to ask.
        own_server: It is not OpenAI, and shall get nothing of an OpenAI account.
    """
    import openai

    client = openai.AsyncOpenAI(
        api_key=vendor.key.get_secret_value() if vendor.key else "none",
        base_url=vendor.address,
        max_retries=vendor.retries,
        timeout=openai.Timeout(vendor.attempt_s, connect=CONNECT_S),
    )
    if own_server:
        # The SDK sends what it finds in the environment about an OpenAI account.
        client.organization = client.project = None
        client._custom_headers = {}  # noqa: SLF001  there is no public switch
    return client


def _words(body: object) -> str:
    """Code and message of an error's body; servers nest and name them in many ways."""
    match body:
        case [first, *_]:
            return _words(first)
        case {"error": (dict() | str()) as inner}:
            return _words(inner)
        case {"detail": detail}:
            return str(detail)
        case dict():
            codes = [body[name] for name in ("code", "type") if isinstance(body.get(name), str)]
            return (
                ": ".join([*codes[:1], *([str(body["message"])] if body.get("message") else [])]) or "no reason given"
            )
        case None | "":
            return "no reason given"
    return str(body)


def _retry_after(header: str | None) -> float:
    with suppress(ValueError):  # it may be a date
        return min(_LONGEST_RETRY_S, max(0.0, float(header or _RETRY_AFTER_S)))
    return _RETRY_AFTER_S
