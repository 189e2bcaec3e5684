"""OpenAI and compatible servers, by OpenAI's own SDK against a vendor on loopback."""

from __future__ import annotations

import base64
import socket
import traceback
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from maia.orchestrator.agents.registry import open_backbone
from maia.orchestrator.agents.rules import broken_rules
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.conversation import Message, Picture, Text, TokenUsage
from maia.orchestrator.errors import BackboneError
from maia.orchestrator.protocols import Backbone

if TYPE_CHECKING:
    from tests.unit.orchestrator.agents.loopback import LoopbackVendor

KEY = "sk-proj-Yb7TqK3pWd9F-very-secret"
KEYS = BackboneKeys(openai=SecretStr(KEY), compatible=SecretStr(KEY))
TASK = Message("user", (Text("Explain the unit."),))

OpenGpt = Callable[..., Backbone]


def answer(content: object = "ok", finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-true-name",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content} | message,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {
            "prompt_tokens": 700,
            "completion_tokens": 9,
            "total_tokens": 709,
            "prompt_tokens_details": {"cached_tokens": 512, "cache_write_tokens": 100},
        },
    }


def failure(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


@pytest.fixture
async def gpt(vendor: LoopbackVendor) -> AsyncIterator[OpenGpt]:
    """Opens backbones on the vendor, and closes them after the test."""
    opened: list[Backbone] = []

    def open_gpt(name: str = "gpt-9", keys: BackboneKeys = KEYS, **settings: Any) -> Backbone:
        settings = {"max_retries": 2} | settings
        backbone = open_backbone(name, keys=keys, base_url=f"{vendor.url}/v1", settings=BackboneSettings(**settings))
        opened.append(backbone)
        return backbone

    yield open_gpt
    for backbone in opened:
        await backbone.aclose()


@pytest.fixture
def backbone(gpt: OpenGpt) -> Backbone:
    return gpt(check_rules=True)


@pytest.fixture
def compatible(gpt: OpenGpt) -> Backbone:
    return gpt("compatible:qwen:72b", check_rules=True)


async def refusal_of(backbone: Backbone) -> BackboneError:
    with pytest.raises(BackboneError) as caught:
        await backbone.reply("system", [TASK])
    assert KEY not in str(caught.value)
    printed = "".join(traceback.format_exception(caught.value))
    assert "The above exception" not in printed, "it would print what the vendor quoted"
    assert "During handling" not in printed
    return caught.value


async def test_text_model_usage_and_stop_reason_come_back(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(200, answer("An experiment."))
    reply = await backbone.reply("system", [TASK])
    assert reply.text == "An experiment."
    assert reply.model == "gpt-true-name"
    assert reply.usage == TokenUsage(input=88, output=9, cache_read=512, cache_write=100)
    assert reply.stop_reason == "stop"


async def test_the_key_travels_in_its_header_only_and_the_named_model_is_called(
    vendor: LoopbackVendor, backbone: Backbone
) -> None:
    vendor.will_answer(200, answer())
    await backbone.reply("the system prompt", [TASK])
    (request,) = vendor.requests
    assert request.line.startswith("POST /v1/chat/completions ")
    assert [name for name, value in request.headers.items() if KEY in value] == ["authorization"]
    assert KEY.encode() not in request.body
    assert request.json["model"] == "gpt-9"
    assert request.json["messages"][0] == {"role": "system", "content": "the system prompt"}
    assert KEY not in repr(backbone) + repr(vars(backbone))


async def test_the_body_of_turn_two_begins_with_the_messages_of_turn_one(
    vendor: LoopbackVendor, backbone: Backbone, pictures: tuple[Picture, ...]
) -> None:
    vendor.will_answer(200, answer())
    messages = [TASK]
    for picture in pictures:
        await backbone.reply("system", messages)
        messages += [Message("assistant", (Text("code"),)), Message("user", (Text("seen"), picture))]
    await backbone.reply("system", messages)
    sent = [request.body for request in vendor.requests]
    for earlier, later in pairwise(sent):
        assert earlier.startswith(b'{"model":"gpt-9","messages":[')
        assert later.startswith(earlier[: earlier.index(b'],"max_completion_tokens":')])
    keys = {request.json["prompt_cache_key"] for request in vendor.requests}
    assert len(keys) == 1, "one run, one cache"
    for request in vendor.requests:
        assert broken_rules("openai", request.json) == []
    for part, picture in zip(
        (turn["content"][-1] for turn in vendor.requests[-1].json["messages"] if isinstance(turn["content"], list)),
        pictures,
        strict=True,
    ):
        head, _, data = part["image_url"]["url"].partition(",")
        assert head == f"data:{picture.media_type};base64"
        assert base64.b64decode(data) == picture.data


async def test_another_task_has_another_cache_key(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(200, answer())
    await backbone.reply("system", [TASK])
    await backbone.reply("system", [Message("user", (Text("Another."),))])
    assert len({request.json["prompt_cache_key"] for request in vendor.requests}) == 2


async def test_a_compatible_server_is_sent_no_field_that_it_may_not_know(
    vendor: LoopbackVendor, compatible: Backbone
) -> None:
    vendor.will_answer(200, answer())
    await compatible.reply("system", [TASK])
    assert sorted(vendor.requests[0].json) == ["max_completion_tokens", "messages", "model"]
    assert vendor.requests[0].json["model"] == "qwen:72b"


async def test_the_limit_has_the_name_that_the_server_knows(vendor: LoopbackVendor, gpt: OpenGpt) -> None:
    vendor.will_answer(200, answer())
    for name in ("compatible:qwen", "openai:gpt-9"):
        backbone = gpt(name, limit_field="max_tokens", max_tokens=77)
        await backbone.reply("system", [TASK])
    theirs, openais = (request.json for request in vendor.requests)
    assert theirs["max_tokens"] == 77
    assert "max_completion_tokens" not in theirs
    assert openais["max_completion_tokens"] == 77


async def test_an_openai_account_is_not_shown_to_a_compatible_server(
    vendor: LoopbackVendor, gpt: OpenGpt, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "OPENAI_API_KEY": "sk-private",
        "OPENAI_ADMIN_KEY": "sk-admin-private",
        "OPENAI_ORG_ID": "org-private",
        "OPENAI_PROJECT_ID": "proj-private",
        "OPENAI_CUSTOM_HEADERS": "x-other: private\nAuthorization: Bearer sk-private",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    vendor.will_answer(200, answer())
    backbone = gpt("compatible:qwen", keys=BackboneKeys())
    await backbone.reply("system", [TASK])
    assert "private" not in str(vendor.requests[0])
    assert vendor.requests[0].headers["authorization"] == "Bearer none"


@pytest.mark.parametrize(("content", "text"), [("", ""), (None, ""), ([{"type": "text", "text": "parts"}], "parts")])
async def test_every_form_of_content_is_read(
    vendor: LoopbackVendor, backbone: Backbone, content: object, text: str
) -> None:
    vendor.will_answer(200, answer(content, "length"))
    reply = await backbone.reply("system", [TASK])
    assert (reply.text, reply.stop_reason) == (text, "length")


async def test_a_server_that_counts_no_tokens_is_fine(vendor: LoopbackVendor, compatible: Backbone) -> None:
    vendor.will_answer(200, answer() | {"usage": None})
    assert (await compatible.reply("system", [TASK])).usage == TokenUsage()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (answer(None, refusal="I will not."), "I will not"),
        (answer(None, "content_filter"), "content filter"),
    ],
)
async def test_a_refusal_is_an_error(
    vendor: LoopbackVendor, backbone: Backbone, body: dict[str, Any], words: str
) -> None:
    vendor.will_answer(200, body)
    error = await refusal_of(backbone)
    assert (error.transient, error.reason) == (False, "BACKBONE_DECLINED")
    assert words in str(error)


@pytest.mark.parametrize(
    ("status", "body", "transient", "advice"),
    [
        (400, failure("Unknown parameter: max_completion_tokens"), False, "limit_field"),
        (400, failure("too long", "context_length_exceeded"), False, "--max-rounds"),
        (401, failure("Incorrect API key: sk-proj-*******cret", "invalid_api_key"), False, "OPENAI_API_KEY"),
        (401, failure(f"Incorrect API key: {KEY[:14]}…"), False, "OPENAI_API_KEY"),
        (404, failure("The model gpt-9 does not exist", "model_not_found"), False, "the model's name, and --base-url"),
        (429, failure("Rate limit", "rate_limit_exceeded"), True, "fewer units"),
        (429, failure("You exceeded your quota", "insufficient_quota"), False, "credit"),
        (500, b"\x1b[31mstack trace", True, "later"),
        (503, {"detail": "loading"}, True, "overloaded"),
    ],
)
async def test_every_status_is_one_sentence_with_what_to_do(
    vendor: LoopbackVendor, backbone: Backbone, *, status: int, body: object, transient: bool, advice: str
) -> None:
    vendor.will_answer(status, body)
    error = await refusal_of(backbone)
    assert error.transient is transient
    assert f"gpt-9 answered {status}" in str(error)
    assert advice in str(error).partition("What to do:")[2]
    assert "cret" not in str(error)
    assert KEY[:14] not in str(error)
    assert str(error).isprintable()
    assert len(vendor.requests) == (3 if status >= 429 else 1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            [{"error": {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}}],
            "models/x is not found",
        ),
        (
            {"object": "error", "message": "no such model", "code": 404, "type": "NotFoundError"},
            "NotFoundError: no such",
        ),
        ({"error": "model 'x' not found"}, "model 'x' not found"),
        (b"404 page not found", "404 page not found"),
        (b"", "404. What to do"),
    ],
)
async def test_the_words_of_every_kind_of_server_are_found(
    vendor: LoopbackVendor, compatible: Backbone, body: object, words: str
) -> None:
    vendor.will_answer(404, body)
    error = await refusal_of(compatible)
    assert words in str(error)
    assert f"--base-url, now {vendor.url}/v1" in str(error)


async def test_after_a_rate_limit_the_reply_still_comes(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(429, failure("Rate limit"), retry_after="0.01")
    vendor.answers.append("cut")
    vendor.will_answer(200, answer("at last"))
    assert (await backbone.reply("system", [TASK])).text == "at last"
    assert len(vendor.requests) == 3


async def test_a_silent_server_is_left_after_the_time_limit(vendor: LoopbackVendor, gpt: OpenGpt) -> None:
    vendor.answers.append("silent")
    backbone = gpt(attempt_s=0.2, max_retries=0)
    error = await refusal_of(backbone)
    assert (error.transient, error.reason) == (True, "BACKBONE_TOO_SLOW")


async def test_a_server_that_does_not_run_is_named_with_its_address(vendor: LoopbackVendor) -> None:
    with socket.socket() as unused:  # bound and not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        backbone = open_backbone(
            "compatible:qwen", keys=BackboneKeys(), base_url=url, settings=BackboneSettings(max_retries=0)
        )
        error = await refusal_of(backbone)
        await backbone.aclose()
    assert (error.transient, error.reason) == (True, "BACKBONE_OUT_OF_REACH")
    assert url in str(error)
    assert "start the server or correct --base-url" in str(error)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html>Ollama is running</html>", "text/html"),
        (b'{"choices": []}', "application/json"),
        (b'{"choices": [{"message"', "application/json"),
        (b'{"object": "list"}', "application/json"),
        (b'{"choices": [{"message": {"content": 5}}]}', "application/json"),
    ],
)
async def test_an_answer_that_is_none_is_an_error(
    vendor: LoopbackVendor, compatible: Backbone, body: bytes, content_type: str
) -> None:
    vendor.will_answer(200, body, content_type=content_type)
    error = await refusal_of(compatible)
    assert (error.transient, error.reason) == (False, "BACKBONE_UNREADABLE")
    assert "--base-url" in str(error)
