"""Picks the concrete classes: what all units of a process share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from maia.orchestrator.agents.models import ModelFacts, facts_of
from maia.orchestrator.agents.registry import open_backbone, parse_agent, parse_describer
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.clients import Addresses, Servers, open_servers
from maia.orchestrator.context import UNLIMITED, ContextLimits
from maia.orchestrator.protocols import Backbone
from maia.sandbox import Host, RemoteHost, TierName
from maia.wire.tls import ClientCredentials


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Which backbone, and how to reach it.

    Attributes:
        name: As the user gave it to --agent.
        keys: The vendors' keys.
        base_url: Where a compatible server answers.
        backbone: How a vendor is asked.
        describer: What describes and summarises for the tools: "agent", "server", or a backbone's name.
        describer_base_url: Where a compatible server answers that describes.
        prices: A file of facts about models, whose fields win over ours.
        context_tokens: What conversation and reply may hold together, instead of what is known of the model.
    """

    name: str
    keys: BackboneKeys = field(default_factory=BackboneKeys)
    base_url: str | None = None
    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    describer: str = "agent"
    describer_base_url: str | None = None
    prices: Path | None = None
    context_tokens: int | None = None

    @property
    def facts(self) -> ModelFacts:
        """What is known of the agent's model; raises as `facts_of`."""
        return facts_of(self.name, self.prices)

    @property
    def describer_name(self) -> str | None:
        """The backbone that describes; None for the description server, which also describes for agents without one."""
        match self.describer:
            case "server":
                return None
            case "agent":
                return None if parse_agent(self.name).kind in ("scripted", "replay") else self.name
            case name:
                return name

    def open(self) -> Backbone:
        """Open the agent's backbone; raises as `open_backbone`."""
        return open_backbone(self.name, keys=self.keys, base_url=self.base_url, settings=self.backbone)

    def open_describer(self) -> Describing | None:
        """Open what describes, where it is neither the agent's own backbone nor the description server.

        Raises:
            UnknownAgentError, MissingKeyError, PreconditionError, InvalidRequestError: As `open_backbone` and
                `facts_of`; of a describer that cannot describe too.
        """
        name = self.describer_name
        if name is None or self.describer == "agent":
            return None
        kind = parse_describer(name).kind
        same = kind == parse_agent(self.name).kind  # the same server answers for another of its models
        address = self.describer_base_url or (self.base_url if same else None)
        facts = facts_of(name, self.prices)
        return Describing(open_backbone(name, keys=self.keys, base_url=address, settings=self.backbone), facts)


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Where code is run, and how it is isolated.

    Attributes:
        cache_dir: Where a host here remembers what its sessions need.
        tier: Of a host here.
        address: Of a sandbox host elsewhere; None runs one here.
        allow_unisolated: Whether a host here may take the tier "none".
        credentials: For a host elsewhere.
    """

    cache_dir: Path
    tier: TierName = "auto"
    address: str | None = None
    allow_unisolated: bool = False
    credentials: ClientCredentials | None = None

    def host(self) -> Host | RemoteHost:
        """Return the host, not entered.

        Raises:
            ValueError: The address is none.
        """
        if self.address is not None:
            return RemoteHost(self.address, self.credentials)
        return Host(tier=self.tier, cache_dir=self.cache_dir, allow_unisolated=self.allow_unisolated)


@dataclass(frozen=True, slots=True)
class Describing:
    """A backbone that describes for the tools, and what is known of its model."""

    backbone: Backbone
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class Lab:
    """What all units share.

    Attributes:
        servers: The tool servers.
        host: Where code is run.
        backbone: The agent's.
        facts: What is known of its model.
        limits: Of one request to it.
        describing: What describes for the tools; None for the description server.
    """

    servers: Servers
    host: Host | RemoteHost
    backbone: Backbone
    facts: ModelFacts = field(default_factory=ModelFacts)
    limits: ContextLimits = UNLIMITED
    describing: Describing | None = None


@asynccontextmanager
async def open_lab(addresses: Addresses, agent: AgentSettings, sandbox: SandboxSettings) -> AsyncIterator[Lab]:
    """Connect to the servers, start or reach the sandbox and open the backbone; all end with the context.

    Args:
        addresses: Where the servers are expected.
        agent: The backbone.
        sandbox: Where code is run.

    Raises:
        UnknownAgentError, MissingKeyError: The agent or the describer cannot be had as named.
        InvalidRequestError: PRICES_INVALID.
        UnavailableError: A server is down; the message says which, where it was expected and how to start it.
        TierUnavailableError: This machine cannot isolate sessions; the message says why and what to do.
        SandboxError: The sandbox host elsewhere does not answer.
    """
    facts = agent.facts
    limits = facts.limits(reply_tokens=agent.backbone.max_tokens, context_tokens=agent.context_tokens)
    async with AsyncExitStack() as stack:
        backbone = agent.open()
        stack.push_async_callback(backbone.aclose)
        describing = agent.open_describer()
        if describing is not None:
            stack.push_async_callback(describing.backbone.aclose)
        elif agent.describer_name is not None:
            describing = Describing(backbone, facts)
        async with open_servers(addresses) as servers, sandbox.host() as host:
            yield Lab(servers, host, backbone, facts, limits, describing)
