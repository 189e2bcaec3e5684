"""What is read of an answer, by both vendors' SDKs: as much as fits, whoever counts how."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from tests.unit.orchestrator.agents.test_transient_faults import ANSWERS, KEYS, TASK

from maia.orchestrator.agents import reply_parts
from maia.orchestrator.agents.registry import open_backbone
from maia.orchestrator.agents.settings import BackboneSettings
from maia.orchestrator.conversation import TokenUsage
from maia.orchestrator.errors import BackboneError
from maia.orchestrator.protocols import Backbone

if TYPE_CHECKING:
    from tests.unit.orchestrator.agents.loopback import LoopbackVendor

MOST = 4096


@pytest.fixture(params=list(ANSWERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def backbone(vendor: LoopbackVendor, name: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Backbone]:
    monkeypatch.setattr(reply_parts, "MOST_BYTES", MOST)
    url = vendor.url if name.startswith("claude") else f"{vendor.url}/v1"
    opened = open_backbone(name, keys=KEYS, base_url=url, settings=BackboneSettings(max_retries=2))
    yield opened
    await opened.aclose()


def padded(name: str, size: int) -> bytes:
    """The answer with blanks to so many bytes."""
    return json.dumps(ANSWERS[name]).encode().ljust(size)


async def refusal_of(backbone: Backbone) -> BackboneError:
    with pytest.raises(BackboneError) as caught:
        await backbone.reply("system", TASK)
    assert "\n" not in str(caught.value)
    return caught.value


async def test_an_answer_of_the_largest_size_is_read(vendor: LoopbackVendor, backbone: Backbone, name: str) -> None:
    vendor.will_answer(200, padded(name, MOST))
    assert (await backbone.reply("system", TASK)).text == "at last"


async def test_a_larger_one_is_unreadable_and_not_asked_again(
    vendor: LoopbackVendor, backbone: Backbone, name: str
) -> None:
    vendor.will_answer(200, padded(name, MOST + 1))
    error = await refusal_of(backbone)
    assert error.reason == "BACKBONE_UNREADABLE"
    assert "more than 0 MiB" in str(error)
    assert len(vendor.requests) == 1


async def test_one_without_an_end_is_left(vendor: LoopbackVendor, backbone: Backbone, name: str) -> None:
    # It promises more than it sends, and stays silent: only who stops reading has an answer.
    vendor.will_answer(200, padded(name, 1 << 20), content_length=str(1 << 40))
    assert (await refusal_of(backbone)).reason == "BACKBONE_UNREADABLE"


async def test_what_counts_is_the_size_unpacked(vendor: LoopbackVendor, backbone: Backbone, name: str) -> None:
    vendor.will_answer(200, gzip.compress(padded(name, MOST)), content_encoding="gzip")
    vendor.will_answer(200, gzip.compress(padded(name, 1 << 24)), content_encoding="gzip")
    assert (await backbone.reply("system", TASK)).text == "at last"
    assert (await refusal_of(backbone)).reason == "BACKBONE_UNREADABLE"


async def test_the_words_of_an_error_are_bounded_too(vendor: LoopbackVendor, backbone: Backbone) -> None:
    vendor.will_answer(400, b"never " * MOST, content_length=str(1 << 40), content_type="text/plain")
    error = await refusal_of(backbone)
    assert error.reason == "BACKBONE_REQUEST_REFUSED"
    assert "never never" in str(error)


async def test_null_is_no_tokens(vendor: LoopbackVendor, backbone: Backbone, name: str) -> None:
    counts = ("input_tokens", "output_tokens") if name.startswith("claude") else ("prompt_tokens", "completion_tokens")
    vendor.will_answer(200, ANSWERS[name] | {"usage": dict.fromkeys(counts)})
    reply = await backbone.reply("system", TASK)
    assert (reply.text, reply.usage) == ("at last", TokenUsage())


@pytest.mark.parametrize("half", [b"\\ud83d", b"\\uDE00", b"\xed\xa0\xbd", b"\xff"])
async def test_half_a_character_costs_no_reply(
    vendor: LoopbackVendor, backbone: Backbone, name: str, half: bytes
) -> None:
    body = json.dumps(ANSWERS[name]).encode()
    vendor.will_answer(200, body.replace(b"at last", b"at \\ud83d\\ude00 " + half + b" last"))
    text = (await backbone.reply("system", TASK)).text
    assert text.startswith("at \N{GRINNING FACE} ")
    assert text.endswith(" last")
    text.encode()  # as the journal does
