"""What is known of models: prices and limits, whose file wins, and that nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from maia.orchestrator.agents.models import ModelFacts, facts_of
from maia.orchestrator.agents.rules import LIMITS
from maia.orchestrator.conversation import TokenUsage
from maia.orchestrator.errors import UnknownAgentError
from maia.wire.errors import InvalidRequestError

USAGE = TokenUsage(input=1_000_000, output=100_000, cache_read=2_000_000, cache_write=400_000)
OWN = """
[[model]]
models = ["compatible:qwen*"]
context_tokens = 32_000
pictures = 8
price = { input = 1.0, output = 2.0, cache_read = 0.0, cache_write = 1.0 }

[[model]]
models = ["anthropic:claude-haiku-5-5"]
price = { input = 7.0, output = 0.0, cache_read = 0.0, cache_write = 0.0 }
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "prices.toml"
    file.write_text(OWN)
    return file


def test_each_kind_of_token_has_its_price() -> None:
    usd = facts_of("claude-opus-5-5").usd(USAGE)
    assert usd == pytest.approx(4.0 + 20 * 0.1 + 0.2 * 2 + 5 * 0.4)


def test_a_long_request_costs_the_long_price() -> None:
    facts = facts_of("gpt-6.1-sol")
    assert facts.usd(TokenUsage(input=72_000, cache_read=200_000)) == pytest.approx(0.072 * 2 + 0.2 * 0.1)
    assert facts.usd(TokenUsage(input=72_001, cache_read=200_000)) == pytest.approx(0.072001 * 4 + 0.2 * 0.2)


@pytest.mark.parametrize("name", ["claude-haiku-4-5-20251001", "anthropic:claude-haiku-4-5"])
def test_a_date_in_the_name_changes_nothing(name: str) -> None:
    assert facts_of(name) == facts_of("claude-haiku-4-5")
    assert facts_of(name).price is not None


def test_an_entry_for_a_date_goes_before_the_one_without() -> None:
    assert facts_of("gpt-4o-2024-05-13").price != facts_of("gpt-4o-2024-08-06").price == facts_of("gpt-4o").price


@pytest.mark.parametrize("name", ["gpt-5-unheard-of", "claude-opus-99", "compatible:gpt-5", "local-llava"])
def test_the_price_of_an_unknown_model_is_not_guessed(name: str) -> None:
    facts = facts_of(name)
    assert facts.price is None
    assert facts.usd(USAGE) is None


def test_of_a_compatible_server_nothing_is_known() -> None:
    assert facts_of("compatible:gpt-5") == ModelFacts()


def test_scripted_and_replayed_agents_cost_nothing() -> None:
    assert facts_of("scripted").usd(USAGE) == facts_of("replay:somewhere").usd(USAGE) == 0.0


def test_a_vendors_limits_hold_for_its_models_that_are_not_named() -> None:
    for vendor, name in (("anthropic", "claude-opus-99"), ("openai", "gpt-99")):
        facts = facts_of(name)
        assert facts.pictures == LIMITS[vendor].pictures  # type: ignore[index]
        assert facts.request_bytes is not None
        assert facts.request_bytes <= LIMITS[vendor].request_bytes  # type: ignore[index]


def test_models_with_a_larger_context_take_more_pictures() -> None:
    assert (facts_of("claude-opus-4-5").pictures, facts_of("claude-opus-5-5").pictures) == (100, 600)


def test_a_file_of_ones_own_completes_and_corrects(own: Path) -> None:
    qwen = facts_of("compatible:qwen:72b", own)
    assert (qwen.context_tokens, qwen.pictures) == (32_000, 8)
    assert qwen.usd(USAGE) == pytest.approx(1.6)
    haiku = facts_of("claude-haiku-5-5", own)
    assert haiku.usd(USAGE) == 7.0, "the long price was that of another price"
    assert haiku.context_tokens == 1_000_000
    assert facts_of("claude-opus-5-5", own) == facts_of("claude-opus-5-5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[model]", "no TOML"),
        ("", "model: Field required"),
        ('[[model]]\nmodels = ["a:b"]\nprice = { input = 1 }', "model.0.price.output: Field required"),
        ('[[model]]\nmodels = ["a:b"]\ncontext = 5', "model.0.context: Extra inputs"),
        ('[[model]]\nmodels = ["a:b"]\npictures = -1', "model.0.pictures"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(InvalidRequestError) as caught:
        facts_of("scripted", file)
    assert caught.value.reason == "PRICES_INVALID"
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"none\.toml cannot be read: No such file"):
        facts_of("scripted", tmp_path / "none.toml")


def test_an_unknown_agent_is_refused() -> None:
    with pytest.raises(UnknownAgentError):
        facts_of("nobody")


def test_the_reply_has_its_place_in_the_context() -> None:
    facts = facts_of("claude-opus-4-5")
    assert facts.limits(reply_tokens=16_000).tokens == 184_000
    assert facts.limits(reply_tokens=16_000, context_tokens=50_000).tokens == 34_000
    assert facts.limits(reply_tokens=16_000, context_tokens=20_000).tokens == 10_000
    assert facts_of("compatible:x").limits(reply_tokens=16_000).tokens is None


def test_a_file_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="/dev/zero cannot be read: it is no regular file; give another"):
        facts_of("scripted", Path("/dev/zero"))
    file = tmp_path / "prices.toml"
    file.write_text("#".ljust((1 << 20) + 1))
    with pytest.raises(InvalidRequestError, match="cannot be read: it is larger than 1 MiB"):
        facts_of("scripted", file)
