"""What a command's settings mean: who is asked what, and where its code runs; checked before anything starts."""

from __future__ import annotations

import os

from maia.cli.config import Config
from maia.cli.errors import CommandError
from maia.orchestrator.agents.models import facts_of, require_price
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.budget import Budget
from maia.orchestrator.errors import JournalError
from maia.orchestrator.tasks import Task, load_task, read_task_file
from maia.orchestrator.wiring import AgentSettings, SandboxSettings
from maia.wire.ray_cluster import LOCAL


async def check_names(config: Config) -> None:
    """Refuse an agent or describer that does not exist, a missing key or price, before anything starts.

    Raises:
        UnknownAgentError: Also of a describer; the message lists the valid forms.
        MissingKeyError: The message names the variable.
        InvalidRequestError: The file of --prices is none; a money budget for a model whose price is not known.
        CommandError: There is no journal to replay.
    """
    agent = agent_of(config)
    facts_of(config.agent, config.prices)  # says now that the file is none
    try:
        await agent.open().aclose()
    except JournalError as error:
        raise CommandError(error.message, reason=error.reason) from error
    describing = agent.open_describer()
    if describing is not None:
        await describing.backbone.aclose()
    for flag, text in (("budget", config.budget), ("batch-budget", config.batch_budget)):
        if Budget.parse(text).usd is not None:
            for name in dict.fromkeys((config.agent, agent.describer_name or config.agent)):
                require_price(name, config.prices, f"--{flag} {text}")


def task_of(config: Config, question: str = "") -> Task:
    """Return the task that the settings name.

    Raises:
        NotFoundError: There is no such task; the message names those that exist.
        InvalidRequestError: The task file cannot be used; the message says why.
        PreconditionError: The task takes a question, and there is none.
    """
    return read_task_file(config.task_file) if config.task_file else load_task(config.task, question=question)


def agent_of(config: Config) -> AgentSettings:
    """Return which backbones are asked, and how."""
    return AgentSettings(
        name=config.agent,
        base_url=config.base_url,
        keys=keys_of(config),
        backbone=BackboneSettings(max_tokens=config.max_tokens, limit_field=config.limit_field),
        describer=config.describer,
        describer_base_url=config.describer_base_url,
        prices=config.prices,
        context_tokens=config.context_tokens,
    )


def cluster_address(config: Config) -> str:
    """Return where the Ray cluster is."""
    return config.ray_address or os.environ.get("RAY_ADDRESS") or LOCAL


def sandbox_of(config: Config) -> SandboxSettings:
    """Return where code is run."""
    return SandboxSettings(
        config.cache_dir,
        tier=config.sandbox_tier,
        address=config.sandbox_address,
        allow_unisolated=config.allow_unisolated,
        credentials=config.credentials,
    )


def keys_of(config: Config) -> BackboneKeys:
    """Return the vendors' keys."""
    return BackboneKeys(
        anthropic=config.anthropic_api_key, openai=config.openai_api_key, compatible=config.compatible_api_key
    )
