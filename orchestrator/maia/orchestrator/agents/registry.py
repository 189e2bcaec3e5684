"""Opens a backbone by the name that a person gives it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from maia.orchestrator.agents.endpoint import Endpoint
from maia.orchestrator.agents.replay import ReplayBackbone
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.errors import MissingKeyError, UnknownAgentError
from maia.orchestrator.protocols import Backbone
from maia.wire.errors import InvalidRequestError, PreconditionError

KEY_VARIABLES: Final[Mapping[str, str]] = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "compatible": "MAIA_COMPATIBLE_API_KEY",
}
VALID_NAMES: Final = (
    "scripted",
    "replay:DIR",
    "anthropic:NAME",
    "openai:NAME",
    "compatible:NAME or local-NAME (with --base-url)",
    "claude-…",
    "gpt-…",
    "o1, o3, …",
)

Kind = Literal["scripted", "replay", "anthropic", "openai", "compatible"]

_LOCAL: Final = "local-"
"""MAIA's way of naming a model of a compatible server."""

_BARE: Final[Mapping[Kind, re.Pattern[str]]] = {
    "anthropic": re.compile(r"claude-\S+"),
    "openai": re.compile(r"(chat)?gpt-\S+|o\d\S*"),
}


@dataclass(frozen=True, slots=True)
class AgentName:
    """A backbone's name, read: its kind, and the model or folder that it names ("" for the scripted one)."""

    kind: Kind
    rest: str


def parse_agent(name: str) -> AgentName:
    """Read a name as given to --agent.

    Raises:
        UnknownAgentError: With the valid forms.
    """
    kind, colon, rest = name.partition(":")
    if not colon and name == "scripted":
        return AgentName("scripted", "")
    if rest.strip():
        match kind:
            case "replay" | "anthropic" | "openai" | "compatible":
                return AgentName(kind, rest.strip())
    if name.startswith(_LOCAL) and name.removeprefix(_LOCAL).strip():
        return AgentName("compatible", name.removeprefix(_LOCAL).strip())
    for vendor, pattern in _BARE.items():
        if pattern.fullmatch(name):
            return AgentName(vendor, name)
    raise UnknownAgentError(
        f"there is no agent {name!r}; valid are {', '.join(VALID_NAMES)}", metadata={"valid": ", ".join(VALID_NAMES)}
    )


def parse_describer(name: str) -> AgentName:
    """Read the name of a backbone that describes, as given to --describer.

    Raises:
        UnknownAgentError: With the valid forms; also for a backbone that answers by a plan.
    """
    try:
        agent = parse_agent(name)
    except UnknownAgentError:
        agent = AgentName("scripted", "")
    if agent.kind in ("scripted", "replay"):
        valid = ("agent", "server", *VALID_NAMES[2:])
        raise UnknownAgentError(
            f"there is no describer {name!r}; valid are {', '.join(valid)}", metadata={"valid": ", ".join(valid)}
        )
    return agent


def open_backbone(
    name: str,
    *,
    keys: BackboneKeys,
    base_url: str | None = None,
    settings: BackboneSettings | None = None,
) -> Backbone:
    """Open the backbone of a name. Nothing is sent yet; only the SDK that is needed is imported.

    Args:
        name: As given to --agent; the model that it names is the model that is called.
        keys: The vendors' keys; the environment is not read here.
        base_url: Where a compatible server answers, or a proxy of Anthropic's or OpenAI's API. The vendor's key is
            sent there. Not used by "scripted" and "replay".
        settings: Limits; None for the defaults.

    Raises:
        UnknownAgentError: No such name.
        MissingKeyError: The vendor's key is not set.
        PreconditionError: A compatible server without a base URL.
        InvalidRequestError: A base URL or key that cannot be one.
        JournalError: Nothing to replay in that folder.
    """
    agent = parse_agent(name)
    settings = settings or BackboneSettings()
    match agent.kind:
        case "scripted":
            from maia.orchestrator.agents.scripted import ScriptedBackbone

            return ScriptedBackbone()
        case "replay":
            return ReplayBackbone.open(name, Path(agent.rest))
        case "anthropic":
            from maia.orchestrator.agents import anthropic as vendor

            key = _required_key(name, "anthropic", keys.anthropic)
            return vendor.AnthropicBackbone(
                _endpoint(name, "anthropic", key, base_url, vendor.ADDRESS), agent.rest, settings
            )
        case "openai" | "compatible":
            return _open_chat(name, agent, keys, base_url, settings)


def _open_chat(
    name: str, agent: AgentName, keys: BackboneKeys, base_url: str | None, settings: BackboneSettings
) -> Backbone:
    from maia.orchestrator.agents import openai as vendor

    if agent.kind == "openai":
        key = _required_key(name, "openai", keys.openai)
        endpoint = _endpoint(name, "openai", key, base_url, vendor.ADDRESS)
        return vendor.ChatBackbone.of_openai(endpoint, agent.rest, settings)
    if not base_url:
        raise PreconditionError(
            f"{name} needs the address of its server: --base-url, for example http://localhost:8000/v1",
            reason="BASE_URL_MISSING",
        )
    endpoint = _endpoint(name, "compatible", _checked_key("compatible", keys.compatible), base_url, "")
    return vendor.ChatBackbone.of_compatible_server(endpoint, agent.rest, settings)


def _endpoint(name: str, kind: Kind, key: SecretStr | None, base_url: str | None, default: str) -> Endpoint:
    if base_url:
        _check_address(base_url)
    return Endpoint(
        name=name,
        address=base_url or default,
        key_variable=KEY_VARIABLES[kind],
        key=key,
        address_given=bool(base_url),
    )


def _required_key(name: str, kind: Kind, key: SecretStr | None) -> SecretStr:
    checked = _checked_key(kind, key)
    if checked is None:
        variable = KEY_VARIABLES[kind]
        raise MissingKeyError(
            f"{name} needs a key: set the environment variable {variable}", metadata={"set": variable}
        )
    return checked


def _checked_key(kind: Kind, key: SecretStr | None) -> SecretStr | None:
    """Return the key, None for an empty one; a key that no header can carry would be quoted by the HTTP client."""
    secret = key.get_secret_value() if key else ""
    if not secret:
        return None
    if not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise InvalidRequestError(
            f"the key in {KEY_VARIABLES[kind]} cannot be one: it holds a space, a line break or a letter beyond ASCII",
            reason="KEY_INVALID",
        )
    return key


def _check_address(base_url: str) -> None:
    """Refuse what is no HTTP address, and one with a password in it, which every error would print."""
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        secret = parts.username is not None or parts.password is not None
    except ValueError:
        good, secret = False, False
    if secret:
        raise InvalidRequestError(
            "--base-url holds a user name or password; give the key in its environment variable instead",
            reason="BASE_URL_INVALID",
        )
    if not good or parts.query or parts.fragment:
        raise InvalidRequestError(
            f"--base-url {base_url!r} is no address of a server; it looks like http://localhost:8000/v1",
            reason="BASE_URL_INVALID",
        )
