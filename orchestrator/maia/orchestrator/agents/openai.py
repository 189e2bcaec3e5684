"""Models behind Chat Completions: OpenAI's own, and any server that speaks that dialect (vLLM, Ollama, LM Studio, …).

Both through OpenAI's SDK. OpenAI caches prefixes by itself; `prompt_cache_key` sends the requests of one run to the
same cache. Compatible servers are not sent it, since some refuse fields that they do not know.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import openai
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionContentPartImageParam,
    ChatCompletionContentPartTextParam,
    ChatCompletionMessageParam,
    ChatCompletionSystemMessageParam,
    ChatCompletionUserMessageParam,
)
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import BaseModel, Field

from maia.orchestrator.agents.endpoint import Endpoint
from maia.orchestrator.agents.reply_parts import Count, bounded, read_answer
from maia.orchestrator.agents.request_parts import base64_text, require_rules, sendable_parts
from maia.orchestrator.agents.rules import broken_rules
from maia.orchestrator.agents.settings import BackboneSettings
from maia.orchestrator.conversation import Message, Part, Picture, Reply, Text, TokenUsage

if TYPE_CHECKING:
    import httpx2

ADDRESS: Final = "https://api.openai.com/v1"
CONNECT_S: Final = 10.0
NO_KEY: Final = "none"
"""Sent to a compatible server without a key: the SDK wants one, and would else take OPENAI_API_KEY for it."""


class _Client(openai.DefaultAsyncHttpxClient):
    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:  # noqa: ANN401  as httpx2 has it
        return await bounded(await super().send(request, **how | {"stream": True}))


class ChatBackbone:
    """A model behind Chat Completions; safe to share between units, since it keeps nothing of a conversation.

    Args:
        endpoint: Its address and key.
        model: As the server names it.
        settings: Limits; `limit_field` as this server knows it.
        cache_key: Send `prompt_cache_key`.
    """

    def __init__(self, endpoint: Endpoint, model: str, settings: BackboneSettings, *, cache_key: bool) -> None:
        self._endpoint = endpoint
        self._model = model
        self._settings = settings
        self._cache_key = cache_key
        self._client = openai.AsyncOpenAI(
            api_key=endpoint.key.get_secret_value() if endpoint.key else NO_KEY,
            base_url=endpoint.address,
            max_retries=settings.max_retries,
            timeout=openai.Timeout(settings.attempt_s, connect=CONNECT_S),
            http_client=_Client(),
        )
        # The SDK sends what it finds in OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS, to a compatible
        # server too; our configuration is the CLI's, and other people's servers get nothing of an OpenAI account.
        self._client.organization = self._client.project = None
        self._client._custom_headers = {}  # noqa: SLF001  there is no public switch

    @classmethod
    def of_openai(cls, endpoint: Endpoint, model: str, settings: BackboneSettings) -> Self:
        """Return the backbone of a model of OpenAI, which knows only the newer name of the limit."""
        settings = settings.model_copy(update={"limit_field": "max_completion_tokens"})
        return cls(endpoint, model, settings, cache_key=True)

    @classmethod
    def of_compatible_server(cls, endpoint: Endpoint, model: str, settings: BackboneSettings) -> Self:
        """Return the backbone of a model of any server that speaks the dialect."""
        return cls(endpoint, model, settings, cache_key=False)

    @property
    def name(self) -> str:
        """As the user gave it."""
        return self._endpoint.name

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        """Ask the model; see `Backbone.reply`."""
        body = request_body(self._model, system, messages, self._settings)
        if self._cache_key:
            body["prompt_cache_key"] = run_key(system, messages)
        if self._settings.check_rules:
            require_rules(self.name, broken_rules("openai", body))
        return _read(await self._ask(body), self._endpoint)

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _ask(self, body: CompletionCreateParamsNonStreaming) -> bytes:
        """Return the body of a successful answer, unread: the SDK's own models accept nearly anything."""
        limits = self._settings
        try:
            async with asyncio.timeout(limits.patience_s):
                answer = await self._client.chat.completions.with_raw_response.create(**body)
                return answer.content
        except openai.APIStatusError as error:
            raise self._endpoint.refused(error.status_code, error.body) from None
        except openai.APITimeoutError:
            raise self._endpoint.too_slow(limits.attempt_s, "per attempt") from None
        except openai.APIConnectionError as error:
            raise self._endpoint.out_of_reach(error.__cause__) from None
        except TimeoutError:
            raise self._endpoint.too_slow(limits.patience_s, "with all retries") from None


def request_body(
    model: str, system: str, messages: Sequence[Message], settings: BackboneSettings
) -> CompletionCreateParamsNonStreaming:
    """Return the body of a request; the same arguments give the same bytes."""
    turns: list[ChatCompletionMessageParam] = [ChatCompletionSystemMessageParam(role="system", content=system)]
    turns += [_turn(message) for message in messages]
    body: CompletionCreateParamsNonStreaming = {"model": model, "messages": turns}
    body[settings.limit_field] = settings.max_tokens
    return body


def run_key(system: str, messages: Sequence[Message]) -> str:
    """Return a name for one run: equal for every request of it, since what it hashes never changes."""
    digest = hashlib.sha256(system.encode())
    for part in messages[0].parts:
        digest.update(b"\0" + (part.text.encode() if isinstance(part, Text) else part.sha256.encode()))
    return f"maia-{digest.hexdigest()[:32]}"


def _turn(message: Message) -> ChatCompletionMessageParam:
    parts = sendable_parts(message)
    if message.role == "assistant":
        return ChatCompletionAssistantMessageParam(role="assistant", content=_joined(parts))
    if all(isinstance(part, Text) for part in parts):
        # Servers of text-only models take no list, and a run may well begin without a picture.
        return ChatCompletionUserMessageParam(role="user", content=_joined(parts))
    return ChatCompletionUserMessageParam(role="user", content=[_part(part) for part in parts])


def _joined(parts: Sequence[Part]) -> str:
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def _part(part: Part) -> ChatCompletionContentPartTextParam | ChatCompletionContentPartImageParam:
    if isinstance(part, Picture):
        url = f"data:{part.media_type};base64,{base64_text(part)}"
        return ChatCompletionContentPartImageParam(type="image_url", image_url={"url": url})
    return ChatCompletionContentPartTextParam(type="text", text=part.text)


class _TextPart(BaseModel):
    type: str = ""
    text: str = ""


class _Message(BaseModel):
    content: str | list[_TextPart] | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Details(BaseModel):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Usage(BaseModel):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: _Details | None = None


class _Answer(BaseModel):
    model: str = ""
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def _read(body: bytes, endpoint: Endpoint) -> Reply:
    answer = read_answer(_Answer, body, endpoint)
    choice = answer.choices[0]
    if choice.message.refusal or choice.finish_reason == "content_filter":
        raise endpoint.declined(choice.message.refusal or "its content filter stopped the reply")
    content = choice.message.content or ""
    text = content if isinstance(content, str) else "\n".join(part.text for part in content if part.type == "text")
    return Reply(text, answer.model, _usage(answer.usage or _Usage()), choice.finish_reason or "")


def _usage(usage: _Usage) -> TokenUsage:
    """The vendor's prompt tokens include those read from and written to the cache; ours do not."""
    details = usage.prompt_tokens_details or _Details()
    read, written = details.cached_tokens or 0, details.cache_write_tokens or 0
    fresh = max(0, usage.prompt_tokens - read - written)
    return TokenUsage(input=fresh, output=usage.completion_tokens, cache_read=read, cache_write=written)
