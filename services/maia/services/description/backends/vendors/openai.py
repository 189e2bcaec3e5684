"""Chat Completions: OpenAI, and any server that speaks it (vLLM, Ollama, LM Studio, llama.cpp, …)."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from maia.services._runtime.vendor import Vendor, openai_client
from maia.services.description.backends.vendors.dialect import Reply
from maia.services.description.backends.vendors.options import VendorOptions
from maia.services.description.backends.vendors.pictures import sent
from maia.services.description.model import Question, View
from maia.services.description.prompts import prompt

if TYPE_CHECKING:
    import openai


class ChatCompletions:
    """Asks one picture or more in one user message; a `Dialect`.

    Args:
        options: Which model, and what it is told.
    """

    def __init__(self, options: VendorOptions) -> None:
        self._options = options

    @property
    def address(self) -> str:
        """OpenAI's."""
        return "https://api.openai.com/v1"

    @property
    def key_variable(self) -> str:
        """OpenAI's."""
        return "OPENAI_API_KEY"

    def sdk(self) -> ModuleType:
        """Import `openai`."""
        import openai

        return openai

    def client(self, vendor: Vendor) -> AbstractAsyncContextManager[openai.AsyncOpenAI]:
        """Return a client of the SDK."""
        return openai_client(vendor, own_server=bool(self._options.base_url))

    async def ask(self, client: openai.AsyncOpenAI, question: Question) -> bytes:
        """Ask once; see `Dialect.ask`."""
        pictures = await asyncio.to_thread(lambda: [_picture(view) for view in question.views])
        content = [*pictures, {"type": "text", "text": prompt(question)}]
        told: dict[str, Any] = {"model": self._options.model, "messages": [{"role": "user", "content": content}]}
        own = bool(self._options.base_url)
        told[self._options.limit_field or ("max_tokens" if own else "max_completion_tokens")] = self._options.max_tokens
        if own or self._options.temperature is not None:
            told["temperature"] = self._options.temperature or 0.0
        body: bytes = (await client.chat.completions.with_raw_response.create(**told)).content
        return body

    def read(self, body: bytes) -> Reply:
        """Read a completion; see `Dialect.read`."""
        choice = _Completion.model_validate_json(body).choices[0]
        refused = choice.message.refusal
        if choice.finish_reason == "content_filter":
            refused = refused or "its content filter stopped the answer"
        content = choice.message.content or ""
        text = content if isinstance(content, str) else "\n".join(part.text for part in content)
        return Reply(text, choice.finish_reason == "length", refused or None)


def _picture(view: View) -> dict[str, Any]:
    picture = sent(view)
    return {"type": "image_url", "image_url": {"url": f"data:{picture.media_type};base64,{picture.data}"}}


class _Part(BaseModel):
    text: str = ""


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
