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
from maia.cli.results import canonical, results_console, show_answers, show_failures, show_table, truth_of
from maia.cli.servers import Deployment, connected, deployment
from maia.cli.units import Wish
from maia.cli.words import counted
from maia.orchestrator.agents.registry import open_backbone
from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
from maia.orchestrator.clients import Servers, Terms
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import Finished, Stopped, UnitName
from maia.orchestrator.report import UnitResult, rebuild, write_unit
from maia.orchestrator.report.index import INDEX
from maia.orchestrator.run import RunSettings, investigate_unit, unit_folder
from maia.orchestrator.tasks import Task, load_task, read_task_file
from maia.orchestrator.tasks.units import refuse_units
from maia.orchestrator.wiring import AgentSettings, Lab, SandboxSettings, open_lab
from maia.wire.logs import configure_logs

_ASK_S: Final = 30.0


@dataclass(slots=True)
class Investigation:
    """The units of one command and what became of them.

    Attributes:
        config: Settings.
        progress: The view.
        task: What is asked.
        results: Of the units that an earlier run had finished, then of those that this one has.
    """

    config: Config
    progress: Progress
    task: Task
    results: list[UnitResult] = field(default_factory=list)

    async def run(self, wishes: Sequence[Wish], *, up: bool, fresh: bool) -> None:
        """Investigate what is wished for."""
        subjects = list(dict.fromkeys(wish.model for wish in wishes))
        async with deployment(self.config, self.progress, up=up, subjects=subjects) as where:
            async with connected(where) as servers:
                units = [unit for wish in wishes for unit in await chosen(servers, wish, self.config.seed, self.task)]
            todo = self._sort_out(units, fresh=fresh)
            if not todo:
                return
            if up:
                await build_sets(self.config, where, subjects, self.progress)
            async with self._lab(where) as lab:
                for number, unit in enumerate(todo, 1):
                    self.progress.unit_started(unit, f"{number}/{len(todo)}", self.config.max_rounds)
                    await self._investigate(unit, lab)
                    if self.results[-1].status == "failed":
                        where.check()

    def _sort_out(self, units: Sequence[UnitName], *, fresh: bool) -> list[UnitName]:
        """Keep what an earlier run has finished, and make room for the rest."""
        todo: list[UnitName] = []
        for unit in units:
            folder = self._folder(unit)
            found = None if fresh else earlier_result(folder, unit)
            if found is not None:
                self.results.append(found)
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
        agent = AgentSettings(
            name=self.config.agent,
            base_url=self.config.base_url,
            keys=keys_of(self.config),
            backbone=BackboneSettings(max_tokens=self.config.max_tokens, limit_field=self.config.limit_field),
        )
        async with open_lab(where.addresses, agent, sandbox_of(self.config)) as lab:
            self.progress.done(f"the sandbox is open ({lab.host.tier})")
            if lab.host.tier == "none":
                self.progress.note(UNISOLATED)
            yield lab

    async def _investigate(self, unit: UnitName, lab: Lab) -> None:
        config = self.config
        settings = RunSettings(
            agent=config.agent,
            task=self.task,
            out=config.out,
            max_rounds=config.max_rounds,
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
        return unit_folder(self.config.out, self.config.agent, unit, self.task)


async def investigate(
    config: Config, wishes: Sequence[Wish], *, up: bool, fresh: bool, dialogue: bool, question: str = ""
) -> int:
    """Investigate units and show what was found.

    Args:
        config: Settings.
        wishes: Which units.
        up: Start servers for this command only.
        fresh: Do not keep what earlier runs have finished.
        dialogue: Print what passes between the agent and its experiments.
        question: Of `maia ask`, whose answer is shown in whole.

    Returns:
        The exit code.
    """
    task = task_of(config, question)
    await check_names(config)
    check_writable(config.out, "--out")
    if up:
        check_writable(config.cache_dir, "--cache-dir")  # exemplars may have to be found
    with Progress(Console(stderr=True), dialogue=dialogue) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        investigation = Investigation(config, progress, task)
        try:
            await investigation.run(wishes, up=up, fresh=fresh)
        finally:
            if investigation.results:
                progress.stage("writing the index")
                rebuild(config.out, truth_of, canonical=canonical)
                progress.close()
                show(results_console(), config.out, investigation.results, whole=bool(question))
    return DONE if all(result.status == "concluded" for result in investigation.results) else UNITS_FAILED


async def check_names(config: Config) -> None:
    """Refuse an agent that does not exist, or a missing key, before anything starts.

    Raises:
        UnknownAgentError: The message lists the valid forms.
        MissingKeyError: The message names the variable.
        CommandError: There is no journal to replay.
    """
    try:
        await open_backbone(config.agent, keys=keys_of(config), base_url=config.base_url).aclose()
    except JournalError as error:
        raise CommandError(error.message, reason=error.reason) from error


def task_of(config: Config, question: str = "") -> Task:
    """Return the task that the settings name.

    Raises:
        NotFoundError: There is no such task; the message names those that exist.
        InvalidRequestError: The task file cannot be used; the message says why.
        PreconditionError: The task takes a question, and there is none.
    """
    return read_task_file(config.task_file) if config.task_file else load_task(config.task, question=question)


async def chosen(servers: Servers, wish: Wish, seed: int, task: Task | None = None) -> list[UnitName]:
    """Return the units of a wish.

    Raises:
        NotFoundError: There is no such subject; the message names those that exist.
        CommandError: The subject has no such layer or unit.
        InvalidRequestError: The task is not for such units.
    """
    info = await servers.subject.info(wish.model, Terms.within(_ASK_S))
    sizes = {layer.name: layer.units for layer in info.layers}
    found = wish.choose(sizes, seed)
    if task is not None:
        refuse_units(task, info, found)
    return [UnitName(info.name, layer, index) for layer, indices in found.items() for index in indices]


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


def show(console: Console, out: Path, results: Sequence[UnitResult], *, whole: bool = False) -> None:
    """Print the table, or the whole answers instead; what failed, and where the report is."""
    if whole:
        show_answers(console, results)
    else:
        show_table(console, results)
    show_failures(console, results)
    console.print(Text.assemble("Report: ", (str((out / INDEX).resolve()), "bold")), soft_wrap=True)
