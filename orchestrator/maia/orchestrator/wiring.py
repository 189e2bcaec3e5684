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
from maia.sandbox import Host, RemoteHost, TierName


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
class SandboxSettings:
    """Where code is run, and how it is isolated.

    Attributes:
        cache_dir: Where a host here remembers what its sessions need.
        tier: Of a host here.
        address: Of a sandbox host elsewhere; None runs one here.
        allow_unisolated: Whether a host here may take the tier "none".
    """

    cache_dir: Path
    tier: TierName = "auto"
    address: str | None = None
    allow_unisolated: bool = False

    def host(self) -> Host | RemoteHost:
        """Return the host, not entered.

        Raises:
            ValueError: The address is none.
        """
        if self.address is not None:
            return RemoteHost(self.address)
        return Host(tier=self.tier, cache_dir=self.cache_dir, allow_unisolated=self.allow_unisolated)


@dataclass(frozen=True, slots=True)
class Lab:
    """What all units share: the servers, the sandbox host, the backbone."""

    servers: Servers
    host: Host | RemoteHost
    backbone: Backbone


@asynccontextmanager
async def open_lab(addresses: Addresses, agent: AgentSettings, sandbox: SandboxSettings) -> AsyncIterator[Lab]:
    """Connect to the servers, start or reach the sandbox and open the backbone; all end with the context.

    Args:
        addresses: Where the servers are expected.
        agent: The backbone.
        sandbox: Where code is run.

    Raises:
        UnknownAgentError, MissingKeyError: The agent cannot be had as named.
        UnavailableError: A server is down; the message says which, where it was expected and how to start it.
        TierUnavailableError: This machine cannot isolate sessions; the message says why and what to do.
        SandboxError: The sandbox host elsewhere does not answer.
    """
    backbone = open_backbone(agent.name, keys=agent.keys, base_url=agent.base_url, settings=agent.backbone)
    try:
        async with open_servers(addresses) as servers, sandbox.host() as host:
            yield Lab(servers, host, backbone)
    finally:
        await backbone.aclose()
