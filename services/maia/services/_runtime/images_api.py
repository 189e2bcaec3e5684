"""Pictures from a vendor: OpenAI's image API, or any server that speaks its protocol, by the vendor's own SDK."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field, SecretStr, ValidationError

from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.services._runtime.vendor import Asked, Vendor, answers, openai_client
from maia.services._runtime.vendor import key_of_environment as key_of
from maia.wire.errors import InvalidRequestError, MaiaError, PreconditionError
from maia.wire.pictures import decode, encode_png

if TYPE_CHECKING:
    import openai

SEEDLESS: Final = "the vendor takes no seed: made anew, this picture would be another"

_ADDRESS: Final = "https://api.openai.com/v1"
_SIDE: Final = 1024


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
    return key_of(options.key_variable)


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
        self._vendor = Vendor(options.model, options.base_url or _ADDRESS, options.key_variable, key)

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
            A picture for each, or the error of one that failed alone; see `Vendor.answer`.

        Raises:
            CancelledError: Nobody waits for them any more.
        """
        return asyncio.run(self._all(asks, abandoned))

    async def _all(self, asks: Sequence[Ask], abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        async with openai_client(self._vendor, own_server=bool(self._options.base_url)) as client:
            return await answers([partial(self._one, client, ask) for ask in asks], self._options.parallel, abandoned)

    async def _one(self, client: openai.AsyncOpenAI, ask: Ask) -> MadePicture | MaiaError:
        import openai

        answer = await self._vendor.answer(
            openai, partial(self._asked, client, ask), Asked(f"prompt {ask.index}", ask.index)
        )
        return self._picture(answer) if isinstance(answer, bytes) else answer

    async def _asked(self, client: openai.AsyncOpenAI, ask: Ask) -> bytes:
        told: dict[str, Any] = {"model": self._options.model, "prompt": ask.prompt, "n": 1}
        if (
            ask.png is None or self._options.width or self._options.height
        ):  # else the vendor goes by the picture's shape
            told["size"] = "{}x{}".format(*self._options.size)
        if self._options.base_url:  # OpenAI's own models give the picture itself, and refuse to be told so
            told["response_format"] = "b64_json"
        if ask.png is None:
            answer = await client.images.with_raw_response.generate(**told)
        else:
            file = ("picture.png", ask.png, "image/png")
            answer = await client.images.with_raw_response.edit(image=file, **told)
        body: bytes = answer.content
        return body

    def _picture(self, body: bytes) -> MadePicture | MaiaError:
        try:
            data = base64.b64decode(_Answer.model_validate_json(body).data[0].b64_json, validate=True)
            return MadePicture(encode_png(decode(data)), (SEEDLESS,))
        except (ValidationError, ValueError, InvalidRequestError):
            return self._vendor.unreadable(
                "holds no picture in base64; the server must give data[0].b64_json",
            )


class _Image(BaseModel):
    b64_json: str


class _Answer(BaseModel):
    data: list[_Image] = Field(min_length=1)
