"""Pictures from a vendor: OpenAI's image API, or any server that speaks its protocol, by the vendor's own SDK."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field, SecretStr, ValidationError

from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.wire.errors import (
    CancelledError,
    InvalidRequestError,
    MaiaError,
    OverloadedError,
    PreconditionError,
    UnavailableError,
)
from maia.wire.pictures import decode, encode_png

if TYPE_CHECKING:
    import openai

SEEDLESS: Final = "the vendor takes no seed: made anew, this picture would be another"

_ADDRESS: Final = "https://api.openai.com/v1"
_SIDE: Final = 1024
_ATTEMPT_S: Final = 300.0
_CONNECT_S: Final = 10.0
_RETRIES: Final = 2
_LOOK_S: Final = 0.1
"""How often a waiting batch asks whether anybody still waits for it."""
_RETRY_AFTER_S: Final = 10.0
_LONGEST: Final = 300
_REFUSED: Final = re.compile(r"moderation|content_policy|safety", re.IGNORECASE)
_NO_CREDIT: Final = re.compile(r"insufficient_quota|billing", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Which model of which vendor.

    Attributes:
        model: As the vendor calls it.
        base_url: "" for OpenAI.
        width: Of the pictures in pixels; None for 1024.
        height: See width.
        parallel: Requests at once.
    """

    model: str
    base_url: str = ""
    width: int | None = None
    height: int | None = None
    parallel: int = 4

    @property
    def key_variable(self) -> str:
        """The environment variable that holds the key; other servers get none of an OpenAI account."""
        return "MAIA_COMPATIBLE_API_KEY" if self.base_url else "OPENAI_API_KEY"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        return self.width or _SIDE, self.height or _SIDE


@dataclass(frozen=True, slots=True)
class Ask:
    """One picture to make; `png` is the picture to edit, `index` its place in the caller's request."""

    prompt: str
    index: int
    png: bytes | None = None


def key_of_environment(options: ApiOptions) -> SecretStr | None:
    """Return the vendor's key, None if the environment has none."""
    key = os.environ.get(options.key_variable)
    return SecretStr(key) if key else None


class ImagesApi:
    """Asks a vendor. For one thread only, which waits.

    Args:
        options: Which model.
        key: None only for a server of one's own.

    Raises:
        PreconditionError: MODEL_UNNAMED or KEY_MISSING.
    """

    def __init__(self, options: ApiOptions, key: SecretStr | None) -> None:
        if not options.model:
            raise PreconditionError("no model is named; --model takes the vendor's name", reason="MODEL_UNNAMED")
        if key is None and not options.base_url:
            raise PreconditionError(f"set {options.key_variable} to the vendor's key", reason="KEY_MISSING")
        self._options = options
        self._key = key

    @property
    def options(self) -> ApiOptions:
        """Which model it asks."""
        return self._options

    def revision(self) -> str:
        """Return a name for model, address and size; what the vendor changes behind a name does not show."""
        options = self._options
        told = "\0".join([options.model, options.base_url or _ADDRESS, *map(str, options.size)])
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    def make(self, asks: Sequence[Ask], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Make pictures, several at once.

        Returns:
            A picture for each, or the error of one that failed alone; see `_failure`.

        Raises:
            CancelledError: Nobody waits for them any more.
        """
        return asyncio.run(self._all(asks, abandoned))

    async def _all(self, asks: Sequence[Ask], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        turns = asyncio.Semaphore(self._options.parallel)
        async with self._client() as client:

            async def one(ask: Ask) -> MadePicture | MaiaError:
                async with turns:
                    return await self._one(client, ask)

            tasks = [asyncio.create_task(one(ask)) for ask in asks]
            try:
                waiting: set[asyncio.Task[Any]] = set(tasks)
                while waiting:
                    if abandoned():
                        raise CancelledError("nobody waits for these pictures any more; the vendor was not asked on")
                    _, waiting = await asyncio.wait(waiting, timeout=_LOOK_S)
                return [task.result() for task in tasks]
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _client(self) -> openai.AsyncOpenAI:
        import openai

        client = openai.AsyncOpenAI(
            api_key=self._key.get_secret_value() if self._key else "none",
            base_url=self._options.base_url or _ADDRESS,
            max_retries=_RETRIES,
            timeout=openai.Timeout(_ATTEMPT_S, connect=_CONNECT_S),
        )
        if self._options.base_url:
            # The SDK sends what it finds in the environment about an OpenAI account; other servers get nothing of it.
            client.organization = client.project = None
            client._custom_headers = {}  # noqa: SLF001  there is no public switch
        return client

    async def _one(self, client: openai.AsyncOpenAI, ask: Ask) -> MadePicture | MaiaError:
        import openai

        told: dict[str, Any] = {"model": self._options.model, "prompt": ask.prompt, "n": 1}
        if (
            ask.png is None or self._options.width or self._options.height
        ):  # else the vendor goes by the picture's shape
            told["size"] = "{}x{}".format(*self._options.size)
        if self._options.base_url:  # OpenAI's own models give the picture itself, and refuse to be told so
            told["response_format"] = "b64_json"
        try:
            if ask.png is None:
                answer = await client.images.with_raw_response.generate(**told)
            else:
                file = ("picture.png", ask.png, "image/png")
                answer = await client.images.with_raw_response.edit(image=file, **told)
            return _picture(answer.content)
        except openai.APIStatusError as error:
            return self._failure(error, ask.index)
        except openai.APITimeoutError:
            return UnavailableError(f"the vendor did not answer within {_ATTEMPT_S:g} s", reason="VENDOR_TOO_SLOW")
        except openai.APIConnectionError:
            return UnavailableError(
                f"the vendor is out of reach at {self._options.base_url or _ADDRESS}; check network and --base-url",
                reason="VENDOR_UNAVAILABLE",
            )

    def _failure(self, error: openai.APIStatusError, index: int) -> MaiaError:
        status, said = error.status_code, self._clean(error)
        if status == 429 and not _NO_CREDIT.search(said):
            return OverloadedError(
                f"the vendor limits the rate of requests: {said}",
                retry_after_s=_retry_after(error.response.headers.get("retry-after")),
                reason="VENDOR_OVERLOADED",
            )
        if status in {401, 402, 403, 429}:
            advice = "add credit" if _NO_CREDIT.search(said) else f"check the key in {self._options.key_variable}"
            return PreconditionError(f"the vendor answered {status}: {said}; {advice}", reason="KEY_REFUSED")
        if status == 404:
            return PreconditionError(
                f"the vendor has no model {self._options.model:.100} here: {said}; check --model and --base-url",
                reason="MODEL_MISSING",
            )
        if status >= 500:
            return UnavailableError(f"the vendor has a fault, {status}: {said}", reason="VENDOR_UNAVAILABLE")
        refused = bool(_REFUSED.search(said))
        what = "the vendor's rules refuse prompt" if refused else "the vendor does not take prompt"
        return InvalidRequestError(
            f"{what} {index}: {said}",
            reason="CONTENT_REFUSED" if refused else "VENDOR_REQUEST_REFUSED",
            metadata={"index": str(index)},
        )

    def _clean(self, error: openai.APIStatusError) -> str:
        """What the vendor says, in one short line without the key, which some repeat."""
        body = error.body if isinstance(error.body, dict) else {}
        words = [str(body[name]) for name in ("code", "message") if body.get(name)]
        text = ": ".join(words) or "no reason given"
        if self._key:
            text = text.replace(self._key.get_secret_value(), "[key]")
        text = re.sub(r"\S*\*{3,}\S*|\bsk-\S+", "[key]", text[: _LONGEST * 4])
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_LONGEST]


class _Image(BaseModel):
    b64_json: str


class _Answer(BaseModel):
    data: list[_Image] = Field(min_length=1)


def _picture(body: bytes) -> MadePicture | MaiaError:
    try:
        data = base64.b64decode(_Answer.model_validate_json(body).data[0].b64_json, validate=True)
        return MadePicture(encode_png(decode(data)), (SEEDLESS,))
    except (ValidationError, ValueError, InvalidRequestError):
        return UnavailableError(
            "the vendor's answer holds no picture in base64; the server must give data[0].b64_json",
            reason="VENDOR_UNREADABLE",
        )


def _retry_after(header: str | None) -> float:
    try:
        return min(600.0, max(0.0, float(header or _RETRY_AFTER_S)))
    except ValueError:  # it may be a date
        return _RETRY_AFTER_S
