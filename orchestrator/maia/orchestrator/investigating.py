"""`investigate`: units of a subject, from Python, over the tool servers that `maia up` or an operator started."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import operator
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, ParamSpec, TypeVar

import structlog
from pydantic import SecretStr

from maia.orchestrator.agents.models import require_price
from maia.orchestrator.agents.registry import KEY_VARIABLES
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.batch import BatchResult, Listener, run_batch
from maia.orchestrator.budget import BatchBudget, Budget
from maia.orchestrator.clients import Addresses, SubjectInfo, Terms
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import Stopped, UnitName
from maia.orchestrator.findings import Finding
from maia.orchestrator.report import UnitResult, collect, unit_folders, write_index, write_unit
from maia.orchestrator.report.results import stopped_result
from maia.orchestrator.report.unit import unchanged
from maia.orchestrator.run import RunSettings
from maia.orchestrator.tasks import Task, load_task
from maia.orchestrator.tasks.units import refuse_units
from maia.orchestrator.toolbox import ToolFunction
from maia.orchestrator.toolbox.tools import with_own
from maia.orchestrator.wiring import AgentSettings, SandboxSettings, open_lab
from maia.sandbox import Limits, user_cache_dir
from maia.wire.errors import InvalidRequestError, OutOfRangeError

log = structlog.stdlib.get_logger("maia.investigating")

_ASK_S: Final = 30.0
_P = ParamSpec("_P")
_T = TypeVar("_T")


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
    prices: Path | str | None = None,
    tools: Mapping[str, ToolFunction] | None = None,
    addresses: Addresses | None = None,
    keys: BackboneKeys | None = None,
    base_url: str | None = None,
    backbone: BackboneSettings | None = None,
    describer: str = "agent",
    describer_base_url: str | None = None,
    context_tokens: int | None = None,
    policy: Literal["restricted", "off"] = "restricted",
    limits: Limits | None = None,
    sandbox: SandboxSettings | None = None,
    listener: Listener | None = None,
) -> list[Finding]:
    """Investigate units and return what was found, in their order, each unit once.

    Finished units under `out` are returned as they are, unfinished ones go on where they were. Each has its journal
    and its page there, as `maia run` writes them. A unit that fails ends itself and no other: its `Finding` says why.

    Args:
        model: The subject.
        units: Indices by layer.
        agent: Who writes the experiments: "scripted", "claude-…", "gpt-…", "compatible:NAME", …
        task: What is asked; one of your own from `read_task_file`, a question from `load_task("question", question=…)`.
        out: Folder of the results.
        jobs: Units at once.
        seed: Every seed of a run derives from it.
        max_rounds: Replies whose code is run.
        budget: Of each unit, such as "usd=2,calls=200"; empty for none.
        batch_budget: Of all units together.
        prices: A file of facts about models, whose fields win over ours.
        tools: Tools of your own, by name: "tools.NAME" and an async function; see `toolbox.tools.with_own`.
        addresses: Of the servers; None for `Addresses.of_environment()`.
        keys: The vendors' keys; None for those in the vendors' environment variables.
        base_url: Where a compatible server answers.
        backbone: How a vendor is asked.
        describer: What describes pictures for the agent's code: "agent", "server" or another model.
        describer_base_url: Where a compatible describer answers.
        context_tokens: The model's context, where ours does not know it.
        policy: The sandbox's language policy.
        limits: What a block of code may use; None for the sandbox's own.
        sandbox: Where code is run; None for this machine.
        listener: Is told what happens.

    Raises:
        UnknownAgentError, MissingKeyError: The agent cannot be had as named.
        UnavailableError: A server is down; the message says which and how to start it.
        NotFoundError: There is no such subject or task.
        PreconditionError: The task takes a question, and there is none.
        OutOfRangeError: The subject has no such layer or unit.
        InvalidRequestError: No unit, units that the task cannot be about, a budget that cannot be, or one in money for
            a model whose price is not known.
        TierUnavailableError, SandboxError: Code cannot be run as `sandbox` says.
        ValueError: An own tool that cannot be, or fewer jobs than one.
    """
    asked = load_task(task) if isinstance(task, str) else task
    settings = RunSettings(
        agent=agent,
        out=Path(out),
        task=asked,
        max_rounds=max_rounds,
        budget=Budget.parse(budget),
        batch=BatchBudget(Budget.parse(batch_budget)),
        seed=seed,
        policy=policy,
        limits=limits or Limits(),
        tools=with_own(tools or {}),
    )
    backbones = AgentSettings(
        agent,
        keys=keys_of_environment() if keys is None else keys,
        base_url=base_url,
        backbone=backbone or BackboneSettings(),
        describer=describer,
        describer_base_url=describer_base_url,
        context_tokens=context_tokens,
        prices=Path(prices) if prices is not None else None,
    )
    for name, text in (("budget", budget), ("batch_budget", batch_budget)):
        if Budget.parse(text).usd is not None:
            for spender in {agent, backbones.describer_name or agent}:
                require_price(spender, backbones.prices, f"{name} {text!r}")
    async with open_lab(
        addresses or Addresses.of_environment(), backbones, sandbox or SandboxSettings(user_cache_dir(os.environ))
    ) as lab:
        info = await lab.servers.subject.info(model, Terms.within(_ASK_S))
        named = _named(info, units)
        refuse_units(asked, info, units)
        batch = await run_batch(named, lab, settings, jobs=jobs, listener=listener)
    return await asyncio.to_thread(_concluded, settings, named, batch)


def _concluded(settings: RunSettings, named: Sequence[UnitName], batch: BatchResult) -> list[Finding]:
    """Write the pages and the index, as far as the disk takes them, and return what was found."""
    findings = [Finding(_result(settings, unit, batch)) for unit in named]
    try:
        units = [_known(folder, write=False) for folder in unit_folders(settings.out)]
        write_index(settings.out, [unit for unit in units if unit is not None])
    except JournalError as error:
        log.warning("the index is not written", out=str(settings.out), why=error.message)
    return findings


def _synchronous(function: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, _T]:
    @functools.wraps(function)
    def synchronous(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(function(*args, **kwargs))
        return _beside(function(*args, **kwargs))

    synchronous.__name__ = synchronous.__qualname__ = f"{function.__name__}_sync"
    synchronous.__doc__ = f"Without `await`, also in a notebook: {function.__doc__}"
    return synchronous


def _beside(work: Coroutine[Any, Any, _T]) -> _T:
    """Do work in another thread, since this one runs an event loop; Ctrl-C cancels it and is raised at its end."""
    begun: Future[Callable[[], object]] = Future()

    async def main() -> _T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        begun.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        return await work

    with ThreadPoolExecutor(1, thread_name_prefix="investigate") as thread:
        running = thread.submit(asyncio.run, main())
        try:
            return running.result()
        except KeyboardInterrupt:
            with contextlib.suppress(RuntimeError):  # it has just come to its end by itself
                begun.result()()
            raise


investigate_sync = _synchronous(investigate)


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
    # An index of an array is a number of NumPy's, which no journal can hold.
    named = [UnitName(info.name, layer, operator.index(index)) for layer, found in units.items() for index in found]
    for unit in named:
        if unit.layer not in sizes:
            raise OutOfRangeError(f"{info.name} has no layer {unit.layer!r}; valid: {', '.join(sizes)}")
        if not 0 <= unit.index < sizes[unit.layer]:
            raise OutOfRangeError(f"{info.name} {unit.layer} has units 0 to {sizes[unit.layer] - 1}, not {unit.index}")
    if not named:
        raise InvalidRequestError('no unit is named; for example {"layer4": [64]}', reason="REQUEST_EMPTY")
    return list(dict.fromkeys(named))


def _result(settings: RunSettings, unit: UnitName, batch: BatchResult) -> UnitResult:
    """Return what became of a unit, its page written."""
    folder, ended = settings.folder(unit), batch.ended.get(unit)
    known = _known(folder, write=ended is not None)
    if isinstance(ended, Stopped):
        return stopped_result(known, folder, unit, settings.agent, ended)
    if known is not None and known.status in ("concluded", "no_conclusion"):
        return known
    reason = batch.left.get(unit) or batch.given_up or "it was not begun"
    if known is None:
        return UnitResult(folder, unit, settings.agent, "unfinished", reason=reason)
    return dataclasses.replace(known, status="unfinished", reason=reason)  # whatever an earlier run ended with


def _known(folder: Path, *, write: bool) -> UnitResult | None:
    """Return what a journal says, its page written; None without a journal that can be read."""
    try:
        result = unchanged(folder) or collect(folder)  # the first keeps what is known of the truth
    except JournalError:
        return None
    if write:
        try:
            return unchanged(folder) or write_unit(folder, None)
        except JournalError as error:  # the disk refuses; what was found is in the journal all the same
            log.warning("the pages of a unit are not written", unit=str(result.unit), why=error.message)
    return result
