"""Names of agents, and what is missing to open them."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from maia.orchestrator.agents.endpoint import Endpoint
from maia.orchestrator.agents.registry import open_backbone, parse_agent
from maia.orchestrator.agents.settings import BackboneKeys
from maia.orchestrator.errors import MissingKeyError, UnknownAgentError
from maia.wire.errors import InvalidRequestError, PreconditionError

KEYS = BackboneKeys(anthropic=SecretStr("a-key"), openai=SecretStr("o-key"))


@pytest.mark.parametrize(
    ("name", "kind", "rest"),
    [
        ("scripted", "scripted", ""),
        ("replay:/some/dir", "replay", "/some/dir"),
        ("anthropic:claude-x", "anthropic", "claude-x"),
        ("claude-opus-9", "anthropic", "claude-opus-9"),
        ("openai:ft:gpt-4o:me", "openai", "ft:gpt-4o:me"),
        ("gpt-9.5-mini", "openai", "gpt-9.5-mini"),
        ("local-google/gemma-4", "compatible", "google/gemma-4"),
        ("chatgpt-latest", "openai", "chatgpt-latest"),
        ("o3", "openai", "o3"),
        ("o4-mini", "openai", "o4-mini"),
        ("compatible:qwen2.5-vl:72b", "compatible", "qwen2.5-vl:72b"),
    ],
)
def test_names_are_read(name: str, kind: str, rest: str) -> None:
    agent = parse_agent(name)
    assert (agent.kind, agent.rest) == (kind, rest)


@pytest.mark.parametrize(
    "name", ["", "gpt", "claude", "local-", "llama-3", "ollama", "replay:", "openai: ", "scripted:x", "bob:x"]
)
def test_an_unknown_name_lists_the_valid_ones(name: str) -> None:
    with pytest.raises(UnknownAgentError, match="scripted, replay:DIR, anthropic:NAME, openai:NAME, compatible:NAME"):
        open_backbone(name, keys=KEYS)


@given(st.one_of(st.text(), st.builds("{}:{}".format, st.sampled_from(["scripted", "replay", "openai"]), st.text())))
def test_any_name_is_read_or_refused(name: str) -> None:
    try:
        agent = parse_agent(name)
    except UnknownAgentError:
        return
    assert (agent.rest == "") is (agent.kind == "scripted")
    assert agent.rest in name


@pytest.mark.parametrize(("name", "variable"), [("claude-x", "ANTHROPIC_API_KEY"), ("openai:x", "OPENAI_API_KEY")])
@pytest.mark.parametrize("keys", [BackboneKeys(), BackboneKeys(anthropic=SecretStr(""), openai=SecretStr(""))])
def test_a_missing_key_is_named_even_if_the_sdk_would_find_one(
    monkeypatch: pytest.MonkeyPatch, name: str, variable: str, keys: BackboneKeys
) -> None:
    monkeypatch.setenv(variable, "from-the-environment")
    with pytest.raises(MissingKeyError, match=variable):
        open_backbone(name, keys=keys)


@pytest.mark.parametrize("key", ["sk-secret\n", "sk secret", "sk-sécret", "\x00sk-secret"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(InvalidRequestError, match="OPENAI_API_KEY") as caught:
        open_backbone("gpt-9", keys=BackboneKeys(openai=SecretStr(key)))
    assert "cret" not in str(caught.value)


def test_a_compatible_server_needs_its_address() -> None:
    with pytest.raises(PreconditionError, match="--base-url"):
        open_backbone("compatible:qwen", keys=KEYS)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:99999/v1", "http://host/v1?key=x", "http://[::1"]
)
def test_a_wrong_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="http://localhost:8000/v1"):
        open_backbone("compatible:qwen", keys=KEYS, base_url=url)


def test_a_password_in_the_address_is_refused_without_being_shown() -> None:
    with pytest.raises(InvalidRequestError, match="user name or password") as caught:
        open_backbone("compatible:qwen", keys=KEYS, base_url="http://me:hunter2@host/v1")
    assert "hunter2" not in str(caught.value)


def test_keys_show_nowhere() -> None:
    endpoint = Endpoint("claude-x", "https://host", "ANTHROPIC_API_KEY", SecretStr("a-key"))
    for shown in (repr(KEYS), str(KEYS), KEYS.model_dump_json(), repr(endpoint)):
        assert "a-key" not in shown


def test_no_sdk_is_imported_before_it_is_needed() -> None:
    code = "import sys, maia.orchestrator.agents.registry; print({'anthropic', 'openai', 'httpx2'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "set()"
