"""Claude, through the Messages API and Anthropic's SDK.

Three cache points: the system prompt, and the end of each of the last two user messages. The API looks for an earlier
cache entry at most 20 blocks before a point, and a round with ten pictures and their titles has more than 20; so the
point of the round before is set again, exactly where its entry was written. A point is no part of what is cached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import anthropic
from anthropic.types import (
    AssistantMessageParam,
    Base64ImageSourceParam,
    CacheControlEphemeralParam,
    ImageBlockParam,
    TextBlockParam,
    UserMessageParam,
)
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import BaseModel

from maia.orchestrator.agents.endpoint import Endpoint
from maia.orchestrator.agents.models import facts_of
from maia.orchestrator.agents.reply_parts import Count, bounded, read_answer
from maia.orchestrator.agents.request_parts import base64_text, require_rules, sendable_parts
from maia.orchestrator.agents.rules import broken_rules
from maia.orchestrator.agents.settings import BackboneSettings
from maia.orchestrator.conversation import Message, Part, Picture, Reply, TokenUsage

if TYPE_CHECKING:
    import httpx2

ADDRESS: Final = "https://api.anthropic.com"
CONNECT_S: Final = 10.0
_POINTS_IN_MESSAGES: Final = 2

_Block = TextBlockParam | ImageBlockParam


class _Client(anthropic.DefaultAsyncHttpxClient):
    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:  # noqa: ANN401  as httpx2 has it
        return await bounded(await super().send(request, **how | {"stream": True}))


class AnthropicBackbone:
    """A Claude model; safe to share between units, since it keeps nothing of a conversation.

    Args:
        endpoint: Its address and key.
        model: As the API names it.
        settings: Limits.
    """

    def __init__(self, endpoint: Endpoint, model: str, settings: BackboneSettings) -> None:
        if endpoint.key is None:
            raise ValueError("the Anthropic API needs a key")
        self._endpoint = endpoint
        self._model = model
        self._settings = settings
        self._client = anthropic.AsyncAnthropic(
            api_key=endpoint.key.get_secret_value(),
            base_url=endpoint.address,
            max_retries=settings.max_retries,
            timeout=anthropic.Timeout(settings.attempt_s, connect=CONNECT_S),
            http_client=_Client(),
        )
        # The SDK adds headers of ANTHROPIC_CUSTOM_HEADERS and has no switch for it; our configuration is the CLI's.
        self._client._custom_headers = {}  # noqa: SLF001  # there is no public switch

    @property
    def name(self) -> str:
        """As the user gave it."""
        return self._endpoint.name

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        """Ask the model; see `Backbone.reply`."""
        body = request_body(self._model, system, messages, self._settings)
        if self._settings.check_rules:
            most = facts_of(f"anthropic:{self._model}").pictures
            require_rules(self.name, broken_rules("anthropic", body, pictures=most))
        return _read(await self._ask(body), self._endpoint)

    async def aclose(self) -> None:
        """Close connections."""
        await self._client.close()

    async def _ask(self, body: MessageCreateParamsNonStreaming) -> bytes:
        """Return the body of a successful answer, unread: the SDK's own models accept nearly anything."""
        limits = self._settings
        try:
            async with asyncio.timeout(limits.patience_s):
                answer = await self._client.messages.with_raw_response.create(**body)
                return await answer.read()
        except anthropic.APIStatusError as error:
            raise self._endpoint.refused(error.status_code, error.body) from None
        except anthropic.APITimeoutError:
            raise self._endpoint.too_slow(limits.attempt_s, "per attempt") from None
        except anthropic.APIConnectionError as error:
            raise self._endpoint.out_of_reach(error.__cause__) from None
        except TimeoutError:
            raise self._endpoint.too_slow(limits.patience_s, "with all retries") from None


def request_body(
    model: str, system: str, messages: Sequence[Message], settings: BackboneSettings
) -> MessageCreateParamsNonStreaming:
    """Return the body of a request; the same arguments give the same bytes."""
    point = CacheControlEphemeralParam(type="ephemeral")
    if settings.cache_ttl != "5m":
        point["ttl"] = settings.cache_ttl
    turns = [(message.role, [_block(part) for part in sendable_parts(message)]) for message in messages]
    for blocks in [blocks for role, blocks in turns if role == "user"][-_POINTS_IN_MESSAGES:]:
        blocks[-1]["cache_control"] = point
    return {
        "model": model,
        "max_tokens": settings.max_tokens,
        "system": [TextBlockParam(type="text", text=system, cache_control=point)],
        "messages": [
            UserMessageParam(role="user", content=blocks)
            if role == "user"
            else AssistantMessageParam(role="assistant", content=blocks)
            for role, blocks in turns
        ],
    }


def _block(part: Part) -> _Block:
    if not isinstance(part, Picture):
        return TextBlockParam(type="text", text=part.text)
    # conversation.Picture holds one of three media types; all are among the API's four.
    source = cast(Base64ImageSourceParam, {"type": "base64", "media_type": part.media_type, "data": base64_text(part)})
    return ImageBlockParam(type="image", source=source)


class _Content(BaseModel):
    type: str
    text: str = ""


class _Details(BaseModel):
    category: str | None = None
    explanation: str | None = None


class _Usage(BaseModel):
    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Answer(BaseModel):
    model: str
    content: list[_Content]
    usage: _Usage
    stop_reason: str | None
    stop_details: _Details | None = None


def _read(body: bytes, endpoint: Endpoint) -> Reply:
    answer = read_answer(_Answer, body, endpoint)
    text = "\n".join(part.text for part in answer.content if part.type == "text")
    if answer.stop_reason == "refusal":
        details = answer.stop_details or _Details()
        raise endpoint.declined(details.explanation or details.category or "no reason given")
    if answer.stop_reason == "model_context_window_exceeded" and not text.strip():
        raise endpoint.full()
    usage = TokenUsage(
        input=answer.usage.input_tokens,
        output=answer.usage.output_tokens,
        cache_read=answer.usage.cache_read_input_tokens or 0,
        cache_write=answer.usage.cache_creation_input_tokens or 0,
    )
    return Reply(text, answer.model, usage, answer.stop_reason or "")
