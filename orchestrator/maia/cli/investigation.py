"""What `maia run` and `maia demo` do: choose units, let the agent investigate each, write reports, show a table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from maia.cli.config import Config
from maia.cli.errors import DONE, UNITS_FAILED, CommandError
from maia.cli.exemplar_sets import build_sets
from maia.cli.finished import REPLACED, earlier_result, set_aside
from maia.cli.folders import check_writable
from maia.cli.isolation import UNISOLATED
from maia.cli.progress import Progress
from maia.cli.results import canonical, results_console, show_failures, show_table, truth_of
from maia.cli.servers import Deployment, connected, deployment
from maia.cli.units import Wish
from maia.cli.words import counted
from maia.orchestrator.agents.models import facts_of
from maia.orchestrator.agents.registry import parse_agent
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.budget import BatchBudget, Budget
from maia.orchestrator.clients import Servers, Terms
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import Finished, Stopped, UnitName
from maia.orchestrator.report import UnitResult, rebuild, write_unit
from maia.orchestrator.report.index import INDEX
from maia.orchestrator.run import RunSettings, investigate_unit, unit_folder
from maia.orchestrator.tasks import load_task
from maia.orchestrator.wiring import AgentSettings, Lab, SandboxSettings, open_lab
from maia.wire.logs import configure_logs

_ASK_S: Final = 30.0


@dataclass(slots=True)
class Investigation:
    """The units of one command and what became of them.

    Attributes:
        config: Settings.
        progress: The view.
        results: Of the units that an earlier run had finished, then of those that this one has.
        batch: What all of them may spend, and have spent.
    """

    config: Config
    progress: Progress
    results: list[UnitResult] = field(default_factory=list)
    batch: BatchBudget = field(init=False)

    def __post_init__(self) -> None:
        self.batch = BatchBudget(Budget.parse(self.config.batch_budget))

    async def run(self, wishes: Sequence[Wish], *, up: bool, fresh: bool) -> None:
        """Investigate what is wished for."""
        subjects = list(dict.fromkeys(wish.model for wish in wishes))
        async with deployment(self.config, self.progress, up=up, subjects=subjects) as where:
            async with connected(where) as servers:
                units = [unit for wish in wishes for unit in await chosen(servers, wish, self.config.seed)]
            todo = self._sort_out(units, fresh=fresh)
            if not todo:
                return
            if up:
                await build_sets(self.config, where, subjects, self.progress)
            async with self._lab(where) as lab:
                for number, unit in enumerate(todo, 1):
                    if spent := self.batch.spent:
                        self._leave(todo[number - 1 :], spent)
                        break
                    self.progress.unit_started(unit, f"{number}/{len(todo)}", self.config.max_rounds)
                    await self._investigate(unit, lab)
                    if self.results[-1].status == "failed":
                        where.check()

    def _leave(self, units: Sequence[UnitName], spent: str) -> None:
        """Start no further unit."""
        reason = f"not started, since {spent}; give a larger --batch-budget"
        self.progress.note(f"{spent}, so {counted(len(units), 'unit')} will not start")
        for unit in units:
            self.results.append(UnitResult(self._folder(unit), unit, self.config.agent, "unfinished", reason=reason))

    def _sort_out(self, units: Sequence[UnitName], *, fresh: bool) -> list[UnitName]:
        """Keep what an earlier run has finished, and make room for the rest."""
        todo: list[UnitName] = []
        for unit in units:
            folder = self._folder(unit)
            found = None if fresh else earlier_result(folder, unit)
            if found is not None:
                self.results.append(found)
                self.batch.add(found.spending)
                continue
            todo.append(unit)
            kept = set_aside(self.config.out, folder)
            if kept is not None and not fresh:
                self.progress.note(f"{unit} was not finished before and begins anew; the old journal is in {kept}")
        if self.results:
            self.progress.note(
                f"{len(self.results)} of {counted(len(units), 'unit')} finished in "
                f"{self.config.out} already; --fresh investigates again and keeps what was there in {REPLACED}"
            )
        return todo

    @asynccontextmanager
    async def _lab(self, where: Deployment) -> AsyncIterator[Lab]:
        self.progress.stage("opening the sandbox")
        async with open_lab(where.addresses, agent_of(self.config), sandbox_of(self.config)) as lab:
            self.progress.done(f"the sandbox is open ({lab.host.tier})")
            if lab.host.tier == "none":
                self.progress.note(UNISOLATED)
            yield lab

    async def _investigate(self, unit: UnitName, lab: Lab) -> None:
        config = self.config
        settings = RunSettings(
            agent=config.agent,
            task=config.task,
            out=config.out,
            max_rounds=config.max_rounds,
            budget=Budget.parse(config.budget),
            batch=self.batch,
            seed=config.seed,
            policy=config.policy,
            limits=config.limits,
            config=config.public(),
        )
        try:
            ended = await investigate_unit(unit, lab, settings, self.progress.on_event)
        except asyncio.CancelledError:
            # What was found until then is worth a page.
            self._report(unit, Stopped("interrupted", "INTERRUPTED", "stopped by the user"))
            raise
        self._report(unit, ended)

    def _report(self, unit: UnitName, ended: Finished | Stopped) -> None:
        folder = self._folder(unit)
        try:
            result = write_unit(folder, truth_of(unit), canonical)
        except JournalError:
            if isinstance(ended, Finished):
                raise
            # It stopped before its run began, so there is nothing to show but why.
            reason = f"{ended.reason}: {ended.message}"
            result = UnitResult(folder, unit, self.config.agent, ended.why, reason=reason)
        self.results.append(result)
        self.progress.unit_ended(result)

    def _folder(self, unit: UnitName) -> Path:
        return unit_folder(self.config.out, self.config.agent, unit)


async def investigate(config: Config, wishes: Sequence[Wish], *, up: bool, fresh: bool, dialogue: bool) -> int:
    """Investigate units and show what was found.

    Args:
        config: Settings.
        wishes: Which units.
        up: Start servers for this command only.
        fresh: Do not keep what earlier runs have finished.
        dialogue: Print what passes between the agent and its experiments.

    Returns:
        The exit code.
    """
    await check_names(config)
    check_writable(config.out, "--out")
    if up:
        check_writable(config.cache_dir, "--cache-dir")  # exemplars may have to be found
    with Progress(Console(stderr=True), dialogue=dialogue) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        investigation = Investigation(config, progress)
        try:
            await investigation.run(wishes, up=up, fresh=fresh)
        finally:
            if investigation.results:
                progress.stage("writing the index")
                rebuild(config.out, truth_of, canonical=canonical)
                progress.close()
                show(results_console(), config.out, investigation.results)
    return DONE if all(result.status == "concluded" for result in investigation.results) else UNITS_FAILED


async def check_names(config: Config) -> None:
    """Refuse an agent or task that does not exist, or a missing key, before anything starts.

    Raises:
        UnknownAgentError: Also of a describer; the message lists the valid forms.
        MissingKeyError: The message names the variable.
        NotFoundError: There is no such task.
        InvalidRequestError: The file of --prices is none.
        CommandError: There is no journal to replay, or a money budget for a model whose price is not known.
    """
    load_task(config.task)
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
                check_price(name, config.prices, f"--{flag} {text}")


def check_price(name: str, prices: Path | None, why: str) -> None:
    """Refuse a model whose price is not known.

    Args:
        name: The model, as given to --agent.
        prices: The file of --prices.
        why: What needs the price.

    Raises:
        CommandError: PRICE_UNKNOWN; the message says how to give it.
    """
    if facts_of(name, prices).price is not None:
        return
    parsed = parse_agent(name)
    raise CommandError(
        f"{why} needs the price of {name}, which is not known; give it with --prices FILE, a TOML file such as "
        f'model = [{{models = ["{parsed.kind}:{parsed.rest}"], '
        "price = {input = 1, output = 4, cache_read = 1, cache_write = 1}}], in US dollars per million tokens",
        reason="PRICE_UNKNOWN",
    )


async def chosen(servers: Servers, wish: Wish, seed: int) -> list[UnitName]:
    """Return the units of a wish.

    Raises:
        NotFoundError: There is no such subject; the message names those that exist.
        CommandError: The subject has no such layer or unit.
    """
    info = await servers.subject.info(wish.model, Terms.within(_ASK_S))
    sizes = {layer.name: layer.units for layer in info.layers}
    return [
        UnitName(info.name, layer, index) for layer, indices in wish.choose(sizes, seed).items() for index in indices
    ]


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


def sandbox_of(config: Config) -> SandboxSettings:
    """Return where code is run."""
    return SandboxSettings(
        config.cache_dir,
        tier=config.sandbox_tier,
        address=config.sandbox_address,
        allow_unisolated=config.allow_unisolated,
    )


def keys_of(config: Config) -> BackboneKeys:
    """Return the vendors' keys."""
    return BackboneKeys(
        anthropic=config.anthropic_api_key, openai=config.openai_api_key, compatible=config.compatible_api_key
    )


def show(console: Console, out: Path, results: Sequence[UnitResult]) -> None:
    """Print the table, what failed, and where the report is."""
    show_table(console, results)
    show_failures(console, results)
    console.print(Text.assemble("Report: ", (str((out / INDEX).resolve()), "bold")), soft_wrap=True)
