"""The vendors' rules: a good request passes, and every rule is noticed when broken."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from maia.orchestrator.agents import anthropic, openai
from maia.orchestrator.agents.rules import LIMITS, Vendor, broken_rules
from maia.orchestrator.agents.settings import BackboneSettings
from maia.orchestrator.conversation import Message, Picture, Text
from maia.wire.pictures import encode_png

Body = dict[str, Any]
Change = Callable[[Body], object]


@pytest.fixture
def bodies(pictures: tuple[Picture, ...]) -> dict[Vendor, Body]:
    messages = [
        Message("user", (Text("Explain."),)),
        Message("assistant", (Text("code"),)),
        Message("user", (Text("seen"), *pictures)),
    ]
    settings = BackboneSettings()
    return {
        "anthropic": dict(copy.deepcopy(anthropic.request_body("m", "system", messages, settings))),
        "openai": dict(copy.deepcopy(openai.request_body("m", "system", messages, settings))),
    }


def test_good_requests_break_no_rule(bodies: dict[Vendor, Body]) -> None:
    assert broken_rules("anthropic", bodies["anthropic"]) == []
    assert broken_rules("openai", bodies["openai"]) == []


@pytest.mark.parametrize(
    ("vendor", "change", "rule"),
    [
        ("anthropic", lambda body: body["messages"].pop(), "must alternate"),
        ("anthropic", lambda body: body["messages"].pop(1), "must alternate"),
        ("anthropic", lambda body: body["messages"].clear(), "must alternate"),
        ("anthropic", lambda body: body["messages"][1]["content"].clear(), "message 2 has no part"),
        ("anthropic", lambda body: body["messages"][1]["content"][0].update(text=" "), "message 2 has a blank text"),
        ("anthropic", lambda body: body.update(system="\n"), "system prompt is blank"),
        ("anthropic", lambda body: body.update(model=""), "no model"),
        ("anthropic", lambda body: body.update(max_tokens=0), "limit of the reply"),
        (
            "anthropic",
            lambda body: [block.update(cache_control={}) for block in body["messages"][2]["content"]],
            "6 cache points",
        ),
        (
            "anthropic",
            lambda body: body["messages"][2]["content"][1]["source"].update(media_type="image/jpeg"),
            "picture 1: said to be image/jpeg, is image/png",
        ),
        (
            "anthropic",
            lambda body: body["messages"][2]["content"][2]["source"].update(data="bm90IGEgcGljdHVyZQ=="),
            "picture 2: not a picture",
        ),
        (
            "anthropic",
            lambda body: body["messages"][2]["content"].extend(body["messages"][2]["content"][1:2] * 98),
            "101 pictures",
        ),
        ("openai", lambda body: body["messages"].pop(), "must alternate"),
        ("openai", lambda body: body["messages"].pop(0), "not the system prompt"),
        ("openai", lambda body: body["messages"][1].update(content=""), "blank text"),
        ("openai", lambda body: body.update(max_tokens=1), "limit of the reply"),
        ("openai", lambda body: body.update(prompt_cache_key="k" * 65), "64 characters"),
        (
            "openai",
            lambda body: body["messages"][3]["content"][1]["image_url"].update(url="http://elsewhere/a.png"),
            "media type ''",
        ),
    ],
)
def test_a_broken_rule_is_named(bodies: dict[Vendor, Body], vendor: Vendor, change: Change, rule: str) -> None:
    change(bodies[vendor])
    assert any(rule in sentence for sentence in broken_rules(vendor, bodies[vendor]))


def test_in_a_crowd_pictures_must_be_smaller(bodies: dict[Vendor, Body]) -> None:
    wide = encode_png(np.zeros((1, 3000, 3), np.uint8))
    block = bodies["anthropic"]["messages"][2]["content"][1]
    block["source"]["data"] = base64.b64encode(wide).decode()
    assert broken_rules("anthropic", bodies["anthropic"]) == []
    bodies["anthropic"]["messages"][2]["content"] += [block] * 20
    assert any("3000 × 1 pixels" in rule for rule in broken_rules("anthropic", bodies["anthropic"]))


def test_pictures_have_a_size_limit_each_and_together(bodies: dict[Vendor, Body]) -> None:
    block = bodies["anthropic"]["messages"][2]["content"][1]
    block["source"]["data"] += "A" * LIMITS["anthropic"].picture_bytes
    rules = broken_rules("anthropic", bodies["anthropic"])
    assert any("bytes of base64" in rule for rule in rules)
    bodies["anthropic"]["messages"][2]["content"] += [block] * 6
    rules = broken_rules("anthropic", bodies["anthropic"])
    assert any("where a request may have" in rule for rule in rules)
