"""Claude, by Anthropic's own SDK against a vendor on loopback."""

from __future__ import annotations

import base64
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

KEY = "sk-ant-api03-Zq8LmN4vXw2R-very-secret"
TASK = Message("user", (Text("Explain the unit."),))

OpenClaude = Callable[..., Backbone]


def answer(*content: dict[str, Any], stop_reason: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-true-name",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 11,
            "output_tokens": 7,
            "cache_read_input_tokens": 500,
            "cache_creation_input_tokens": 40,
        },
    } | more


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def failure(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


@pytest.fixture
async def claude(vendor: LoopbackVendor) -> AsyncIterator[OpenClaude]:
    """Opens backbones on the vendor, and closes them after the test."""
    opened: list[Backbone] = []

    def open_claude(**settings: Any) -> Backbone:
        backbone = open_backbone(
            "claude-sonnet-9",
            keys=BackboneKeys(anthropic=SecretStr(KEY)),
            base_url=vendor.url,
            settings=BackboneSettings(**({"max_retries": 2} | settings)),
        )
        opened.append(backbone)
        return backbone

    yield open_claude
    for backbone in opened:
        await backbone.aclose()


@pytest.fixture
def backbone(claude: OpenClaude) -> Backbone:
    return claude(check_rules=True)


async def refusal_of(backbone: Backbone) -> BackboneError:
    with pytest.raises(BackboneError) as caught:
        await backbone.reply("system", [TASK])
    assert KEY not in str(caught.value)
    printed = "".join(traceback.format_exception(caught.value))
    assert "The above exception" not in printed, "it would print what the vendor quoted"
    assert "During handling" not in printed
    return caught.value


def without_points(value: Any) -> Any:
    """Cache points are no part of what is cached."""
    if isinstance(value, dict):
        return {name: without_points(inner) for name, inner in value.items() if name != "cache_control"}
    return [without_points(inner) for inner in value] if isinstance(value, list) else value


async def test_text_model_usage_and_stop_reason_come_back(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(
        200, answer({"type": "thinking", "thinking": "hm", "signature": "s"}, text("First."), text("Then."))
    )
    reply = await backbone.reply("system", [TASK])
    assert reply.text == "First.\nThen."
    assert reply.model == "claude-true-name"
    assert reply.usage == TokenUsage(input=11, output=7, cache_read=500, cache_write=40)
    assert reply.stop_reason == "end_turn"


async def test_the_key_travels_in_its_header_only_and_the_named_model_is_called(
    vendor: LoopbackVendor, backbone: Backbone
) -> None:
    vendor.will_answer(200, answer(text("ok")))
    await backbone.reply("system", [TASK])
    (request,) = vendor.requests
    assert request.line.startswith("POST /v1/messages ")
    assert [name for name, value in request.headers.items() if KEY in value] == ["authorization"]
    assert KEY.encode() not in request.body
    assert request.json["model"] == "claude-sonnet-9"
    assert backbone.name == "claude-sonnet-9"
    assert KEY not in repr(backbone) + repr(vars(backbone))


async def test_pictures_arrive_as_they_are_with_their_true_types(
    vendor: LoopbackVendor, backbone: Backbone, pictures: tuple[Picture, ...]
) -> None:
    vendor.will_answer(200, answer(text("ok")))
    await backbone.reply("system", [Message("user", (Text("Look:"), *pictures))])
    blocks = vendor.requests[0].json["messages"][0]["content"]
    assert [block["type"] for block in blocks] == ["text", "image", "image", "image"]
    for block, picture in zip(blocks[1:], pictures, strict=True):
        assert block["source"]["media_type"] == picture.media_type
        assert base64.b64decode(block["source"]["data"]) == picture.data


async def test_the_prefix_stays_and_the_cache_points_move_on(
    vendor: LoopbackVendor, backbone: Backbone, pictures: tuple[Picture, ...]
) -> None:
    vendor.will_answer(200, answer(text("code")))
    messages = [TASK]
    for picture in pictures:
        await backbone.reply("the system prompt", messages)
        messages += [Message("assistant", (Text("code"),)), Message("user", (Text("seen"), picture))]
    await backbone.reply("the system prompt", messages)
    bodies = [request.json for request in vendor.requests]
    for earlier, later in pairwise(bodies):
        assert without_points(later["system"]) == without_points(earlier["system"])
        assert without_points(later["messages"])[: len(earlier["messages"])] == without_points(earlier["messages"])
    for body in bodies:
        assert broken_rules("anthropic", body) == []
        assert body["system"][0]["cache_control"] == {"type": "ephemeral"}
        marked = [
            (message["role"], place - len(body["messages"]), block is message["content"][-1])
            for place, message in enumerate(body["messages"])
            for block in message["content"]
            if "cache_control" in block
        ]
        assert marked == [("user", -3, True), ("user", -1, True)][-min(2, len(body["messages"])) :]
    assert len({len(body["messages"]) for body in bodies}) == len(bodies)


async def test_the_same_conversation_gives_the_same_bytes(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(200, answer(text("ok")))
    for _ in range(2):
        await backbone.reply("system", [TASK])
    assert vendor.requests[0].body == vendor.requests[1].body


async def test_the_cache_may_be_kept_for_an_hour(vendor: LoopbackVendor, claude: OpenClaude) -> None:
    vendor.will_answer(200, answer(text("ok")))
    backbone = claude(cache_ttl="1h", max_tokens=100_000)
    await backbone.reply("system", [TASK])
    assert vendor.requests[0].json["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert vendor.requests[0].json["max_tokens"] == 100_000, "the SDK refuses so many without a time limit of ours"


async def test_blank_texts_are_not_sent(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(200, answer(text("ok")))
    blank = Message("user", (Text(" \n"),))
    await backbone.reply("system", [TASK, Message("assistant", (Text("x"),)), blank])
    assert [block["text"] for block in vendor.requests[0].json["messages"][2]["content"]] == ["(nothing)"]


@pytest.mark.parametrize("content", [[], [text("")], [{"type": "thinking", "thinking": "long", "signature": "s"}]])
async def test_an_empty_reply_is_a_reply(
    vendor: LoopbackVendor, backbone: Backbone, content: list[dict[str, Any]]
) -> None:
    vendor.will_answer(200, answer(*content, stop_reason="max_tokens"))
    reply = await backbone.reply("system", [TASK])
    assert reply.text == ""
    assert reply.stop_reason == "max_tokens"


async def test_a_refusal_is_an_error_with_the_vendors_explanation(vendor: LoopbackVendor, backbone: Backbone) -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    vendor.will_answer(200, answer(text("half"), stop_reason="refusal", stop_details=details))
    error = await refusal_of(backbone)
    assert not error.transient
    assert error.reason == "BACKBONE_DECLINED"
    assert "Not this" in str(error)


async def test_a_full_context_is_an_error_that_says_what_helps(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(200, answer(stop_reason="model_context_window_exceeded"))
    error = await refusal_of(backbone)
    assert (error.transient, error.reason) == (False, "BACKBONE_REQUEST_TOO_LARGE")
    assert "--max-rounds" in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "words", "transient", "advice", "requests"),
    [
        (400, "invalid_request_error", "messages: too odd", False, "does not take this request", 1),
        (400, "invalid_request_error", "prompt is too long: 9 > 8", False, "--max-rounds", 1),
        (400, "invalid_request_error", "Your credit balance is too low", False, "credit", 1),
        (401, "authentication_error", f"invalid x-api-key {KEY}", False, "ANTHROPIC_API_KEY", 1),
        (403, "permission_error", "no", False, "ANTHROPIC_API_KEY", 1),
        (404, "not_found_error", "model: claude-sonnet-9", False, "the model's name", 1),
        (413, "request_too_large", "32 MB", False, "--max-rounds", 1),
        (429, "rate_limit_error", "slow down", True, "fewer units", 3),
        (500, "api_error", "Internal", True, "later", 3),
        (529, "overloaded_error", "Overloaded", True, "overloaded", 3),
    ],
)
async def test_every_status_is_one_sentence_with_what_to_do(
    vendor: LoopbackVendor,
    backbone: Backbone,
    *,
    status: int,
    kind: str,
    words: str,
    transient: bool,
    advice: str,
    requests: int,
) -> None:
    vendor.will_answer(status, failure(kind, words))
    error = await refusal_of(backbone)
    assert error.transient is transient
    assert f"claude-sonnet-9 answered {status} {kind}: " in str(error)
    assert words.replace(KEY, "[key]") in str(error)
    assert advice in str(error).partition("What to do:")[2]
    assert len(vendor.requests) == requests, "transient faults are asked again until the retries are spent"


async def test_after_a_rate_limit_the_reply_still_comes(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(429, failure("rate_limit_error", "slow down"), retry_after="0.01")
    vendor.will_answer(529, failure("overloaded_error", "Overloaded"))
    vendor.will_answer(200, answer(text("at last")))
    assert (await backbone.reply("system", [TASK])).text == "at last"
    assert len({request.body for request in vendor.requests}) == 1


async def test_a_wait_that_the_vendor_asks_for_is_bounded_by_our_patience(
    vendor: LoopbackVendor, claude: OpenClaude
) -> None:
    vendor.will_answer(429, failure("rate_limit_error", "tomorrow"), retry_after_ms="90000000")
    backbone = claude(patience_s=0.3)
    error = await refusal_of(backbone)
    assert (error.transient, error.reason) == (True, "BACKBONE_TOO_SLOW")
    assert "0.3 s with all retries" in str(error)


async def test_a_silent_vendor_is_left_after_the_time_limit(vendor: LoopbackVendor, claude: OpenClaude) -> None:
    vendor.answers.append("silent")
    backbone = claude(attempt_s=0.2, max_retries=0)
    error = await refusal_of(backbone)
    assert (error.transient, error.reason) == (True, "BACKBONE_TOO_SLOW")
    assert "0.2 s per attempt" in str(error)


async def test_a_cut_connection_is_tried_again_and_then_named(vendor: LoopbackVendor, claude: OpenClaude) -> None:
    vendor.answers.append("cut")
    backbone = claude(max_retries=1)
    error = await refusal_of(backbone)
    assert (error.transient, error.reason) == (True, "BACKBONE_OUT_OF_REACH")
    assert vendor.url in str(error)
    assert len(vendor.requests) == 2


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"<html>Welcome to the proxy</html>", "text/html"),
        (b'{"id": "msg_1", "content": [', "application/json"),
        (b'{"content": "text", "model": "m"}', "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
        (b"\xff\xfe" + KEY.encode(), "application/json"),
    ],
)
async def test_an_answer_that_is_none_is_an_error(
    vendor: LoopbackVendor, backbone: Backbone, body: bytes, content_type: str
) -> None:
    vendor.will_answer(200, body, content_type=content_type)
    error = await refusal_of(backbone)
    assert error.reason == "BACKBONE_UNREADABLE"
    assert vendor.url in str(error)


async def test_headers_from_the_environment_are_not_sent(
    vendor: LoopbackVendor, claude: OpenClaude, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-other: private")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "another")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
    vendor.will_answer(200, answer(text("ok")))
    backbone = claude()
    await backbone.reply("system", [TASK])
    assert "x-other" not in vendor.requests[0].headers
    assert vendor.requests[0].headers["authorization"] == f"Bearer {KEY}"


async def test_with_the_check_on_a_request_that_breaks_a_rule_is_not_sent(
    vendor: LoopbackVendor, backbone: Backbone
) -> None:
    with pytest.raises(BackboneError, match="from the user to the user"):
        await backbone.reply("system", [TASK, Message("assistant", (Text("left last"),))])
    assert vendor.requests == []
