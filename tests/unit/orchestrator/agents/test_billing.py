"""A growing conversation against vendors that bill real prefixes: each request reads what the last one had sent."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr
from tests.unit.orchestrator.agents.billing import AnthropicBilling, Bill, OpenAIBilling
from tests.unit.orchestrator.agents.loopback import Answer, Request

from maia.orchestrator.agents.registry import open_backbone
from maia.orchestrator.agents.settings import BackboneKeys
from maia.orchestrator.context import ContextLimits, fitted
from maia.orchestrator.conversation import Message, Part, Picture, Text

if TYPE_CHECKING:
    from tests.unit.orchestrator.agents.loopback import LoopbackVendor

KEYS = BackboneKeys(anthropic=SecretStr("key"), openai=SecretStr("key"))
SYSTEM = "You study a neuron. " * 300


def picture(number: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(np.full((96, 96, 3), number, np.uint8)).save(file, format="PNG")
    return Picture(file.getvalue(), "image/png", 96, 96, f"img-{number}")


def results(number: int) -> Message:
    parts: list[Part] = [Text(f"Results of round {number}")]
    for place in range(10):
        # With titles that makes 21 blocks, one more than the vendor looks back over.
        parts += [picture(10 * number + place), Text(f"title {place} of {number}")]
    return Message("user", tuple(parts))


async def bills(vendor: LoopbackVendor, name: str, rounds: int, limits: ContextLimits | None = None) -> list[Bill]:
    """Bill every request of a run; what the backbone reports must be what was billed."""
    billing: Any = AnthropicBilling() if name.startswith("claude") else OpenAIBilling()
    billed: list[Bill] = []

    def answer(request: Request) -> Answer:
        billed.append(billing.bill(request.json))
        usage = billing.usage(billed[-1])
        message = {"content": [{"type": "text", "text": "code"}]} if name.startswith("claude") else {}
        choices = {"choices": [{"message": {"content": "code"}, "finish_reason": "stop"}]}
        return Answer.of({"model": name, "stop_reason": "end_turn", "usage": usage, **message, **choices})

    vendor.answers.append(answer)
    url = vendor.url if name.startswith("claude") else f"{vendor.url}/v1"
    backbone = open_backbone(name, keys=KEYS, base_url=url)
    messages = [Message("user", (Text("the task"),))]
    for number in range(rounds):
        sent = messages if limits is None else fitted(SYSTEM, messages, limits)
        usage = (await backbone.reply(SYSTEM, sent)).usage
        assert (usage.input, usage.cache_read, usage.cache_write) == (
            billed[-1].fresh,
            billed[-1].read,
            billed[-1].written,
        )
        messages += [Message("assistant", (Text("code"),)), results(number)]
    await backbone.aclose()
    return billed


async def test_claude_reads_all_that_was_sent_before_and_writes_the_rest(vendor: LoopbackVendor) -> None:
    billed = await bills(vendor, "claude-sonnet-9", 6)
    for number, bill in enumerate(billed):
        assert bill.fresh == 0
        assert bill.read == (billed[number - 1].tokens if number else 0)


async def test_openai_reads_all_that_was_sent_before_but_for_the_last_step(vendor: LoopbackVendor) -> None:
    billed = await bills(vendor, "gpt-9", 6)
    for number, bill in enumerate(billed):
        assert (billed[number - 1].tokens if number else 0) - 128 <= bill.read
        assert bill.read % 128 == 0


@pytest.mark.parametrize("name", ["claude-sonnet-9", "gpt-9"])
async def test_only_a_step_of_the_context_budget_costs_more(vendor: LoopbackVendor, name: str) -> None:
    billed = await bills(vendor, name, 12, ContextLimits(pictures=40))
    dear = [number for number, bill in enumerate(billed) if number and bill.read < billed[number - 1].tokens - 128]
    assert dear == [5, 8, 11], "from 50 pictures to 20, to which 30 more may come"
