"""Settings of the description server, and which backend they choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services.description import hosting
from maia.services.description.servicer import BATCHES
from maia.services.description.settings import DescriptionSettings
from maia.wire.errors import InvalidRequestError, PreconditionError
from maia.wire.settings import load_settings


def load(*arguments: str) -> DescriptionSettings:
    return load_settings(DescriptionSettings, "description", arguments, program="x")


def test_flags_reach_the_model() -> None:
    told = ("--model", "a/b", "--revision", "main", "--model-dir", "/models", "--offline", "--device", "cuda:1")
    options = load("--backend", "transformers", *told, "--dtype", "float16", "--max-tokens", "40").transformers
    assert (options.model, options.revision, options.model_dir) == ("a/b", "main", Path("/models"))
    assert (options.offline, options.device, options.dtype, options.max_tokens) == (True, "cuda:1", "float16", 40)
    assert load("--backend", "transformers").transformers.max_tokens == 128


def test_flags_reach_the_vendor() -> None:
    told = ("--model", "m", "--base-url", "http://x/v1", "--parallel", "7", "--attempt-s", "5", "--patience-s", "9")
    options = load("--backend", "openai", *told, "--temperature", "0.5", "--limit-field", "max_tokens").vendor
    assert (options.model, options.base_url, options.parallel) == ("m", "http://x/v1", 7)
    assert (options.attempt_s, options.patience_s, options.temperature) == (5.0, 9.0, 0.5)
    assert (options.limit_field, options.max_tokens) == ("max_tokens", 2048)
    assert load("--backend", "anthropic").vendor.temperature is None


def test_flags_make_the_batches() -> None:
    limits = load("--batch", "3", "--batch-delay-ms", "20", "--queue", "50").limits(BATCHES)
    assert (limits.most, limits.delay_s, limits.waiting) == (3, 0.02, 50)
    assert limits.most_weight == BATCHES.most_weight
    assert load("--batch", "3", "--deterministic").limits(BATCHES).most == 1
    assert load().limits(BATCHES) == BATCHES


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("backend", "magic"),
        ("dtype", "int8"),
        ("max-tokens", "0"),
        ("parallel", "0"),
        ("attempt-s", "0"),
        ("patience-s", "-1"),
        ("temperature", "3"),
        ("limit-field", "tokens"),
        ("batch", "0"),
        ("queue", "0"),
        ("base-url", "localhost:11434/v1"),
    ],
)
def test_a_wrong_value_is_refused_by_name(flag: str, value: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        load(f"--{flag}", value)
    assert caught.value.reason == "SETTING_INVALID"
    assert flag.replace("-", "_") in caught.value.message


def test_help_names_every_setting_and_each_backend(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load("--help")
    told = " ".join(capsys.readouterr().out.split())
    for field, info in DescriptionSettings.model_fields.items():
        assert f"--{field.replace('_', '-')}" in told
        assert info.description
    for word in ("scenes", "transformers", "openai", "anthropic", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        assert word in told


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"backend": "transformers"}, "MODEL_UNNAMED"),
        ({"backend": "openai"}, "MODEL_UNNAMED"),
        ({"backend": "openai", "model": "m"}, "KEY_MISSING"),
        ({"backend": "anthropic", "model": "m"}, "KEY_MISSING"),
    ],
)
async def test_a_backend_without_its_model_or_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], reason: str
) -> None:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    with ModelThread("test") as thread, pytest.raises(PreconditionError) as caught:
        await hosting.host(DescriptionSettings(**settings), thread, Metrics()).__aenter__()
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": "x"}, "--model"),
        ({"max_tokens": 5}, "--max-tokens"),
        ({"backend": "transformers", "model": "x", "base_url": "http://x"}, "--base-url"),
        ({"backend": "openai", "model": "x", "dtype": "float16"}, "--dtype"),
        (
            {"backend": "anthropic", "model": "x", "temperature": 0.5, "limit_field": "max_tokens"},
            "--limit-field, --te",
        ),
    ],
)
async def test_what_a_backend_would_not_heed_is_refused(settings: dict[str, Any], told: str) -> None:
    with ModelThread("test") as thread, pytest.raises(InvalidRequestError, match=told) as caught:
        await hosting.host(DescriptionSettings(**settings), thread, Metrics()).__aenter__()
    assert caught.value.reason == "SETTING_INVALID"
