"""`investigate`: units of a subject, from Python, over the tool servers that `maia up` or an operator started."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from maia.orchestrator.agents.registry import KEY_VARIABLES
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.batch import Listener, run_batch
from maia.orchestrator.budget import BatchBudget, Budget
from maia.orchestrator.clients import Addresses, SubjectInfo, Terms
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import Stopped, UnitName
from maia.orchestrator.findings import Finding
from maia.orchestrator.report import UnitResult, write_unit
from maia.orchestrator.run import RunSettings
from maia.orchestrator.tasks import Task, load_task
from maia.orchestrator.toolbox import ToolFunction
from maia.orchestrator.toolbox.tools import with_own
from maia.orchestrator.wiring import AgentSettings, SandboxSettings, open_lab
from maia.sandbox import user_cache_dir
from maia.wire.errors import InvalidRequestError, OutOfRangeError

_ASK_S: Final = 30.0


async def investigate(
    model: str,
    units: Mapping[str, Iterable[int]],
    *,
    agent: str = "scripted",
    task: Task | str = "neuron_description",
    out: Path | str = "results",
    jobs: int = 4,
    seed: int = 0,
    max_rounds: int = 25,
    budget: str = "",
    batch_budget: str = "",
    tools: Mapping[str, ToolFunction] | None = None,
    addresses: Addresses | None = None,
    keys: BackboneKeys | None = None,
    base_url: str | None = None,
    backbone: BackboneSettings | None = None,
    describer: str = "agent",
    sandbox: SandboxSettings | None = None,
    listener: Listener | None = None,
) -> list[Finding]:
    """Investigate units and return what was found, in their order.

    Finished units under `out` are returned as they are, unfinished ones go on where they were. Each has its journal
    and its page there, as `maia run` writes them.

    Args:
        model: The subject.
        units: Indices by layer.
        agent: Who writes the experiments: "scripted", "claude-…", "gpt-…", "compatible:NAME", …
        task: What is asked; one of your own from `read_task_file`.
        out: Folder of the results.
        jobs: Units at once.
        seed: Every seed of a run derives from it.
        max_rounds: Replies whose code is run.
        budget: Of each unit, such as "usd=2,calls=200"; empty for none.
        batch_budget: Of all units together.
        tools: Tools of your own, by name: "tools.NAME" and an async function; see `toolbox.tools.with_own`.
        addresses: Of the servers; None for those of `maia up`.
        keys: The vendors' keys; None for those in the vendors' environment variables.
        base_url: Where a compatible server answers.
        backbone: How a vendor is asked.
        describer: What describes pictures for the agent's code: "agent", "server" or another model.
        sandbox: Where code is run; None for this machine.
        listener: Is told what happens.

    Raises:
        UnknownAgentError, MissingKeyError: The agent cannot be had as named.
        UnavailableError: A server is down; the message says which and how to start it.
        NotFoundError: There is no such subject or task.
        OutOfRangeError: The subject has no such layer or unit.
        InvalidRequestError: A budget, or an own tool, that cannot be.
    """
    limits = Budget.parse(budget)
    settings = RunSettings(
        agent=agent,
        out=Path(out),
        task=load_task(task) if isinstance(task, str) else task,
        max_rounds=max_rounds,
        budget=limits,
        batch=BatchBudget(Budget.parse(batch_budget)),
        seed=seed,
        tools=with_own(tools or {}),
    )
    asked = AgentSettings(
        agent,
        keys=keys_of_environment() if keys is None else keys,
        base_url=base_url,
        backbone=backbone or BackboneSettings(),
        describer=describer,
    )
    async with open_lab(
        addresses or Addresses.local(), asked, sandbox or SandboxSettings(user_cache_dir(os.environ))
    ) as lab:
        named = _named(await lab.servers.subject.info(model, Terms.within(_ASK_S)), units)
        batch = await run_batch(named, lab, settings, jobs=jobs, listener=listener)
    with ThreadPoolExecutor(1) as pages:
        loop = asyncio.get_running_loop()
        return [
            Finding(await loop.run_in_executor(pages, _written, settings, unit, batch.ended.get(unit)))
            for unit in named
        ]


def investigate_sync(model: str, units: Mapping[str, Iterable[int]], **settings: object) -> list[Finding]:
    """Do what `investigate` does, for code that cannot await; works in a notebook too.

    Args:
        model: The subject.
        units: Indices by layer.
        settings: As of `investigate`.
    """

    async def main() -> list[Finding]:
        return await investigate(model, units, **settings)  # type: ignore[arg-type]  # as the user gave them

    # A notebook runs an event loop in this thread already.
    with ThreadPoolExecutor(1, thread_name_prefix="investigate") as thread:
        return thread.submit(asyncio.run, main()).result()


def keys_of_environment() -> BackboneKeys:
    """Return the vendors' keys from their environment variables."""
    found = {kind: SecretStr(os.environ[name]) for kind, name in KEY_VARIABLES.items() if os.environ.get(name)}
    return BackboneKeys(**found)


def _named(info: SubjectInfo, units: Mapping[str, Iterable[int]]) -> list[UnitName]:
    """Return the units, each once.

    Raises:
        OutOfRangeError: The subject has no such layer or unit.
        InvalidRequestError: There is no unit.
    """
    sizes = {layer.name: layer.units for layer in info.layers}
    named = [UnitName(info.name, layer, index) for layer, indices in units.items() for index in indices]
    for unit in named:
        if unit.layer not in sizes:
            raise OutOfRangeError(f"{info.name} has no layer {unit.layer!r}; valid: {', '.join(sizes)}")
        if not 0 <= unit.index < sizes[unit.layer]:
            raise OutOfRangeError(f"{info.name} {unit.layer} has units 0 to {sizes[unit.layer] - 1}, not {unit.index}")
    if not named:
        raise InvalidRequestError('no unit is named; for example {"layer4": [64]}', reason="REQUEST_EMPTY")
    return list(dict.fromkeys(named))


def _written(settings: RunSettings, unit: UnitName, ended: object) -> UnitResult:
    """Write a unit's page and return its result, also of one that has no journal."""
    folder = settings.folder(unit)
    try:
        return write_unit(folder, None)
    except JournalError as error:
        if isinstance(ended, Stopped):
            why = "invalid" if ended.why == "failed" else ended.why
            return UnitResult(folder, unit, settings.agent, why, reason=f"{ended.reason}: {ended.message}")
        return UnitResult(folder, unit, settings.agent, "unfinished", reason=error.message)
