"""The Messages API: Claude, and any server that speaks it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from maia.services._runtime.vendor import CONNECT_S, Vendor
from maia.services.description.backends.vendors.dialect import Reply
from maia.services.description.backends.vendors.options import VendorOptions
from maia.services.description.backends.vendors.pictures import sent
from maia.services.description.model import Question, View
from maia.services.description.prompts import prompt

if TYPE_CHECKING:
    import anthropic


class Messages:
    """Asks one picture or more in one user message; a `Dialect`.

    Args:
        options: Which model, and what it is told.
    """

    def __init__(self, options: VendorOptions) -> None:
        self._options = options

    @property
    def address(self) -> str:
        """Anthropic's."""
        return "https://api.anthropic.com"

    @property
    def key_variable(self) -> str:
        """Anthropic's."""
        return "ANTHROPIC_API_KEY"

    def sdk(self) -> ModuleType:
        """Import `anthropic`."""
        import anthropic

        return anthropic

    def client(self, vendor: Vendor) -> AbstractAsyncContextManager[anthropic.AsyncAnthropic]:
        """Return a client of the SDK."""
        import anthropic

        client = anthropic.AsyncAnthropic(
            # A key that is given keeps the SDK from looking for one, which another server shall not get.
            api_key=vendor.key.get_secret_value() if vendor.key else "none",
            base_url=vendor.address,
            max_retries=vendor.retries,
            timeout=anthropic.Timeout(vendor.attempt_s, connect=CONNECT_S),
        )
        client._custom_headers = {}  # noqa: SLF001  of the environment, too; there is no public switch
        return client

    async def ask(self, client: anthropic.AsyncAnthropic, question: Question) -> bytes:
        """Ask once; see `Dialect.ask`."""
        pictures = await asyncio.to_thread(lambda: [_picture(view) for view in question.views])
        content: Any = [*pictures, {"type": "text", "text": prompt(question)}]
        answer = await client.messages.with_raw_response.create(
            model=self._options.model,
            max_tokens=self._options.max_tokens,
            messages=[{"role": "user", "content": content}],
        )
        return await answer.read()

    def read(self, body: bytes) -> Reply:
        """Read a message; see `Dialect.read`."""
        message = _Message.model_validate_json(body)
        text = "\n".join(part.text for part in message.content if part.type == "text")
        refused = None
        if message.stop_reason == "refusal":
            refused = (message.stop_details or _Details()).explanation or "the model declines to answer"
        return Reply(text, message.stop_reason in {"max_tokens", "model_context_window_exceeded"}, refused)


def _picture(view: View) -> dict[str, Any]:
    picture = sent(view)
    return {"type": "image", "source": {"type": "base64", "media_type": picture.media_type, "data": picture.data}}


class _Content(BaseModel):
    type: str
    text: str = ""


class _Details(BaseModel):
    explanation: str | None = None


class _Message(BaseModel):
    content: list[_Content]
    stop_reason: str | None
    stop_details: _Details | None = None
