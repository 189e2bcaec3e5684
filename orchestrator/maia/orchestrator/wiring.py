"""Picks the concrete classes: what all units of a process share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from maia.orchestrator.agents.registry import open_backbone
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.clients import Addresses, Servers, open_servers
from maia.orchestrator.protocols import Backbone
from maia.sandbox import Host


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Which backbone, and how to reach it.

    Attributes:
        name: As the user gave it to --agent.
        keys: The vendors' keys.
        base_url: Where a compatible server answers.
        backbone: How a vendor is asked.
    """

    name: str
    keys: BackboneKeys = field(default_factory=BackboneKeys)
    base_url: str | None = None
    backbone: BackboneSettings = field(default_factory=BackboneSettings)


@dataclass(frozen=True, slots=True)
class Lab:
    """What all units share: the servers, the sandbox host, the backbone."""

    servers: Servers
    host: Host
    backbone: Backbone


@asynccontextmanager
async def open_lab(addresses: Addresses, agent: AgentSettings, cache_dir: Path) -> AsyncIterator[Lab]:
    """Connect to the servers, start the sandbox and open the backbone; all end with the context.

    Args:
        addresses: Where the servers are expected.
        agent: The backbone.
        cache_dir: Where the sandbox remembers what its jail needs.

    Raises:
        UnknownAgentError, MissingKeyError: The agent cannot be had as named.
        UnavailableError: A server is down; the message says which, where it was expected and how to start it.
        TierUnavailableError: This machine cannot isolate sessions; the message says why and what to do.
    """
    backbone = open_backbone(agent.name, keys=agent.keys, base_url=agent.base_url, settings=agent.backbone)
    try:
        async with open_servers(addresses) as servers, Host(cache_dir=cache_dir) as host:
            yield Lab(servers, host, backbone)
    finally:
        await backbone.aclose()
