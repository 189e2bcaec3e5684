"""What passes by itself, by both vendors' SDKs: it is asked again with the same bytes, and then the reply comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from maia.orchestrator.agents.registry import open_backbone
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.conversation import Message, Text
from maia.orchestrator.errors import BackboneError
from maia.orchestrator.protocols import Backbone

if TYPE_CHECKING:
    from tests.unit.orchestrator.agents.loopback import LoopbackVendor

TASK = [Message("user", (Text("Explain the unit."),))]
KEYS = BackboneKeys(anthropic=SecretStr("key-of-anthropic"), openai=SecretStr("key-of-openai"))
ANSWERS: dict[str, dict[str, Any]] = {
    "claude-sonnet-9": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-9",
        "content": [{"type": "text", "text": "at last"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 11, "output_tokens": 7},
    },
    "gpt-9": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-9",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "at last"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    },
    "compatible:qwen": {"choices": [{"message": {"content": "at last"}}]},
}

Open = Callable[..., Backbone]


@pytest.fixture(params=list(ANSWERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def opened(vendor: LoopbackVendor, name: str) -> AsyncIterator[Open]:
    backbones: list[Backbone] = []

    def open_it(**settings: Any) -> Backbone:
        url = vendor.url if name.startswith("claude") else f"{vendor.url}/v1"
        settings = {"max_retries": 2, "check_rules": True} | settings
        backbones.append(open_backbone(name, keys=KEYS, base_url=url, settings=BackboneSettings(**settings)))
        return backbones[-1]

    yield open_it
    for backbone in backbones:
        await backbone.aclose()


async def comes_at_last(vendor: LoopbackVendor, backbone: Backbone, attempts: int) -> None:
    reply = await backbone.reply("system", TASK)
    assert reply.text == "at last"
    assert len(vendor.requests) == attempts
    assert len({request.body for request in vendor.requests}) == 1


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_after_a_transient_status(vendor: LoopbackVendor, opened: Open, name: str, status: int) -> None:
    vendor.will_answer(status, b"<html>Bad gateway</html>", content_type="text/html")
    vendor.will_answer(status, {"error": {"message": "busy"}})
    vendor.will_answer(200, ANSWERS[name])
    await comes_at_last(vendor, opened(), 3)


async def test_after_a_connection_that_was_cut_before_the_answer(
    vendor: LoopbackVendor, opened: Open, name: str
) -> None:
    vendor.answers.append("cut")
    vendor.will_answer(200, ANSWERS[name])
    await comes_at_last(vendor, opened(), 2)


async def test_after_a_connection_that_was_cut_in_the_middle_of_the_answer(
    vendor: LoopbackVendor, opened: Open, name: str
) -> None:
    vendor.will_break_off(ANSWERS[name])
    vendor.will_answer(200, ANSWERS[name])
    await comes_at_last(vendor, opened(), 2)


async def test_a_connection_that_is_always_cut_in_the_middle_is_named(
    vendor: LoopbackVendor, opened: Open, name: str
) -> None:
    vendor.will_break_off(ANSWERS[name])
    with pytest.raises(BackboneError) as caught:
        await opened(max_retries=1).reply("system", TASK)
    assert (caught.value.transient, caught.value.reason) == (True, "BACKBONE_OUT_OF_REACH")
    assert len(vendor.requests) == 2


async def test_after_a_silence(vendor: LoopbackVendor, opened: Open, name: str) -> None:
    vendor.answers.append("silent")
    vendor.will_answer(200, ANSWERS[name])
    await comes_at_last(vendor, opened(attempt_s=0.3), 2)


async def test_an_answer_in_small_pieces_is_waited_for(vendor: LoopbackVendor, opened: Open, name: str) -> None:
    vendor.will_dawdle(ANSWERS[name])
    await comes_at_last(vendor, opened(), 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_a_permanent_status_is_not_asked_again(vendor: LoopbackVendor, opened: Open, status: int) -> None:
    vendor.will_answer(status, {"error": {"message": "never"}})
    with pytest.raises(BackboneError) as caught:
        await opened().reply("system", TASK)
    assert not caught.value.transient
    assert len(vendor.requests) == 1
