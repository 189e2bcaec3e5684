"""What `maia run` and `maia demo` do: choose units, let the agent investigate each, write reports, show a table."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog
from rich.console import Console
from rich.text import Text

from maia.cli.asynchronous import first_interrupt
from maia.cli.batch_view import BatchView
from maia.cli.chunks import Chunk
from maia.cli.command_line import CommandLine
from maia.cli.config import Config
from maia.cli.errors import DONE, INTERRUPTED, UNITS_FAILED
from maia.cli.exemplar_sets import build_sets
from maia.cli.finished import ENDED, REPLACED, earlier_result, set_aside
from maia.cli.folders import check_writable
from maia.cli.isolation import UNISOLATED
from maia.cli.progress import Progress
from maia.cli.results import canonical, results_console, show_answers, show_failures, show_table, truth_of
from maia.cli.servers import Deployment, connected, deployment
from maia.cli.setup import agent_of, check_names, cluster_address, sandbox_of, task_of
from maia.cli.units import Wish
from maia.cli.words import counted
from maia.orchestrator.batch import BatchResult, run_batch
from maia.orchestrator.budget import BatchBudget, Budget
from maia.orchestrator.clients import Servers, Terms
from maia.orchestrator.errors import DISK_FULL, STORE_FAILED, UNWRITABLE, JournalError
from maia.orchestrator.events import Event, Finished, Stopped, UnitName
from maia.orchestrator.pausing import Pause
from maia.orchestrator.ray_batch import Cluster, run_ray_batch
from maia.orchestrator.report import UnitResult, collect, rebuild, write_unit
from maia.orchestrator.report.index import INDEX
from maia.orchestrator.report.results import stopped_result
from maia.orchestrator.report.visible import one_line, visible
from maia.orchestrator.run import RunSettings, unit_folder
from maia.orchestrator.stored import JournalStore
from maia.orchestrator.tasks import Task
from maia.orchestrator.tasks.units import refuse_units
from maia.orchestrator.wiring import Lab, open_lab
from maia.wire.logs import configure_logs
from maia.wire.ray_cluster import check_address, ray_module
from maia.wire.tracing import exporting

log = structlog.stdlib.get_logger("maia.cli")

_ASK_S: Final = 30.0
_COPIES: Final = 16
"""Units that are compared with a store at once, each of which waits for the network."""

Run = Callable[[Sequence[UnitName], RunSettings], Awaitable[BatchResult]]


@dataclass(frozen=True, slots=True)
class Request:
    """What a command is asked to do, apart from its settings.

    Attributes:
        wishes: Which units.
        chunk: Which part of these.
        up: Start servers for this command only.
        fresh: Do not keep what earlier runs have finished.
        dialogue: Print what passes between agents and their experiments.
        again: The command itself, for what a message tells the user to run.
        question: Of `maia ask`, whose answer is shown in whole.
    """

    wishes: Sequence[Wish]
    chunk: Chunk = field(default_factory=Chunk)
    up: bool = False
    fresh: bool = False
    dialogue: bool = False
    again: CommandLine | None = None
    question: str = ""


class Investigation:
    """The units of one command and what becomes of them; the listener of their batch.

    Args:
        config: Settings.
        progress: The view.
        request: What is to be done.
        task: What is asked.

    Attributes:
        results: Of the units that an earlier run had finished, and of those that this one has begun.
        not_begun: Units that were left for later.
        paused: Whether the user asked for a pause.
        stopped: Whether it was stopped at once.
    """

    def __init__(self, config: Config, progress: Progress, request: Request, task: Task) -> None:
        self.config = config
        self.progress = progress
        self.results: dict[UnitName, UnitResult] = {}
        self.not_begun = 0
        self.stopped = False
        self._request = request
        self._task = task
        self._order: dict[UnitName, int] = {}
        self._pause = Pause()
        self._batch_budget = BatchBudget(Budget.parse(config.batch_budget))
        self._view = BatchView(progress, 0, config.max_rounds, dialogue=request.dialogue)
        self._check: Callable[[], None] = lambda: None
        self._store = None if config.journal_store is None else JournalStore(config.journal_store)
        # One thread: rendering holds the interpreter's lock, and several would keep the event loop waiting.
        self._pages = ThreadPoolExecutor(1, thread_name_prefix="pages")

    @property
    def ordered(self) -> list[UnitResult]:
        """The results in the order of the list."""
        return [self.results[unit] for unit in sorted(self.results, key=self._order.__getitem__)]

    @property
    def paused(self) -> bool:
        """Whether the user asked for a pause."""
        return self._pause.asked

    async def run(self) -> None:
        """Investigate what is asked for."""
        request, config = self._request, self.config
        subjects = list(dict.fromkeys(wish.model for wish in request.wishes))
        async with deployment(config, self.progress, up=request.up, subjects=subjects) as where:
            async with connected(where) as servers:
                named = [
                    unit for wish in request.wishes for unit in await chosen(servers, wish, config.seed, self._task)
                ]
            units = request.chunk.of_list(list(dict.fromkeys(named)))
            if not units:
                self.progress.note(f"chunk {request.chunk.index} of {counted(len(named), 'unit')} is empty")
            self._order = {unit: place for place, unit in enumerate(units)}
            await self._sync(units)
            todo = self._sort_out(units)
            if not todo:
                return
            if request.up:
                await build_sets(config, where, subjects, self.progress)
            async with self._engine(where) as run:
                self._check = where.check
                self._view.total, self._view.already = len(todo), len(units) - len(todo)
                await self._batch(todo, run)

    def unit_started(self, unit: UnitName) -> None:
        """See `maia.orchestrator.batch.Listener`."""
        self._view.unit_started(unit)

    def unit_event(self, unit: UnitName, event: Event) -> None:
        """See `maia.orchestrator.batch.Listener`."""
        self._view.unit_event(unit, event)

    async def unit_ended(self, unit: UnitName, ended: Finished | Stopped) -> None:
        """Write the unit's files and tell of it.

        Raises:
            ServerDiedError: It ended because a server of this command's own has.
        """
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(self._pages, partial(self._written, unit, ended))
        self.results[unit] = result
        self._view.unit_ended(result)
        if isinstance(ended, Stopped):
            self._check()

    def unit_left(self, unit: UnitName, why: str) -> None:
        """See `maia.orchestrator.batch.Listener`."""
        self.results[unit] = UnitResult(self._folder(unit), unit, self.config.agent, "unfinished", reason=why)
        self._view.unit_left(unit, why)

    def close(self) -> None:
        """Wait for no page any more."""
        self._pages.shutdown(wait=False, cancel_futures=True)

    async def _batch(self, todo: Sequence[UnitName], run: Run) -> None:
        config = self.config
        settings = RunSettings(
            agent=config.agent,
            task=self._task,
            out=config.out,
            max_rounds=config.max_rounds,
            budget=Budget.parse(config.budget),
            batch=self._batch_budget,
            seed=config.seed,
            policy=config.policy,
            limits=config.limits,
            config=config.public(),
        )
        self._view.start()
        try:
            with first_interrupt(self._ask_to_pause):
                result = await run(todo, settings)
        except BaseException:
            self._note_interrupted(todo)
            raise
        self.not_begun = len(result.not_begun)
        if result.given_up:
            self.progress.note(f"no further unit is begun: {one_line(visible(result.given_up), 500)}")

    def _ask_to_pause(self) -> None:
        self._pause.ask()
        self._view.pausing()

    def _note_interrupted(self, todo: Sequence[UnitName]) -> None:
        """Those at work have no page, which would take its time; the view knows how far they were."""
        self.stopped = True
        for unit in self._view.running:
            standing = self._view.standing(unit)
            spent = standing.spent
            result = UnitResult(
                self._folder(unit),
                unit,
                self.config.agent,
                "interrupted",
                rounds=standing.round,
                tool_calls=spent.calls,
                seconds=max(standing.seconds, spent.seconds),
                usage=dict(spent.usage),
                usd=spent.usd,
                pictures=spent.pictures,
            )
            self.results.setdefault(unit, result)
        self.not_begun = sum(unit not in self.results for unit in todo)

    def _sort_out(self, units: Sequence[UnitName]) -> list[UnitName]:
        """Keep what an earlier run has finished, or with --fresh make room for all."""
        todo: list[UnitName] = []
        for unit in units:
            folder = self._folder(unit)
            if self._request.fresh:
                try:
                    set_aside(self.config.out, folder)
                    if self._store is not None:
                        self._store.set_aside(self.config.out, folder)
                except JournalError as error:
                    self.unit_left(unit, error.message)
                    continue
            found = earlier_result(folder, unit, self.config.agent, self._task)
            if found is None:
                todo.append(unit)
            else:
                self.results[unit] = found
                self._batch_budget.add(found.spending)
        finished = sum(result.status in ENDED for result in self.results.values())
        if finished:
            self.progress.note(
                f"{finished} of {counted(len(units), 'unit')} finished in "
                f"{self.config.out} already; --fresh investigates again and keeps what was there in {REPLACED}"
            )
        return todo

    async def _sync(self, units: Sequence[UnitName]) -> None:
        """Make what is under --out and what is in the store the same, so that what another machine finished is known.

        Raises:
            JournalError: STORE_FAILED.
        """
        store, out = self._store, self.config.out
        if store is None or self._request.fresh:
            return

        def sync(unit: UnitName) -> None:
            try:
                store.sync(out, self._folder(unit))
            except JournalError as error:
                if error.reason == STORE_FAILED:
                    raise
                log.info("a journal is not copied", unit=str(unit), why=error.message)  # its run says so, too

        self.progress.stage("comparing with the store")
        with ThreadPoolExecutor(_COPIES, thread_name_prefix="store") as threads:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(threads, sync, unit) for unit in units))
        self.progress.done(f"journals are compared with {visible(store.url)}")

    @asynccontextmanager
    async def _engine(self, where: Deployment) -> AsyncIterator[Run]:
        """Yield what investigates units: here, or on a Ray cluster."""
        config = self.config

        async def here(todo: Sequence[UnitName], settings: RunSettings) -> BatchResult:
            with _modules_apart():
                return await run_batch(
                    todo, lab, settings, jobs=config.jobs, listener=self, pause=self._pause, store=self._store
                )

        async def on_ray(todo: Sequence[UnitName], settings: RunSettings) -> BatchResult:
            return await run_ray_batch(
                todo,
                Cluster(where.addresses, agent_of(config), sandbox_of(config), cluster_address(config)),
                settings,
                jobs=config.jobs,
                listener=self,
                pause=self._pause,
                store=self._store,
            )

        if config.engine == "ray":
            yield on_ray
            return
        async with self._lab(where) as lab:
            yield here

    @asynccontextmanager
    async def _lab(self, where: Deployment) -> AsyncIterator[Lab]:
        self.progress.stage("opening the sandbox")
        async with open_lab(where.addresses, agent_of(self.config), sandbox_of(self.config)) as lab:
            self.progress.done(f"the sandbox is open ({lab.host.tier})")
            if lab.host.tier == "none":
                self.progress.note(UNISOLATED)
            yield lab

    def _written(self, unit: UnitName, ended: Finished | Stopped) -> UnitResult:
        """Write a unit's files, as far as the disk takes them; a finding is in the journal all the same."""
        folder = self._folder(unit)
        known: UnitResult | None = None
        try:
            known = write_unit(folder, truth_of(unit), canonical)
        except JournalError as error:
            if isinstance(ended, Finished) or error.reason in {DISK_FULL, UNWRITABLE}:
                log.warning("the pages of a unit are not written", unit=str(unit), why=error.message)
        if isinstance(ended, Finished):
            return known or collect(folder, truth_of(unit), canonical)
        return stopped_result(known, folder, unit, self.config.agent, ended)

    def _folder(self, unit: UnitName) -> Path:
        return unit_folder(self.config.out, self.config.agent, unit, self._task)


@contextmanager
def _modules_apart() -> Iterator[None]:
    """Let full collections of Python's garbage pass over what stands now.

    That is modules for the most part. To look through them takes a tenth of a second, in which no unit goes on.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def investigate(config: Config, request: Request) -> int:
    """Investigate units and show what was found.

    Args:
        config: Settings.
        request: What is to be done.

    Returns:
        The exit code.
    """
    task = task_of(config, request.question)
    await check_names(config)
    check_writable(config.out, "--out")
    if config.engine == "ray":
        ray_module()
        check_address(cluster_address(config))
    if request.up:
        check_writable(config.cache_dir, "--cache-dir")  # exemplars may have to be found
    with exporting(config.traces, "maia.orchestrator"), Progress(Console(stderr=True)) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        investigation = Investigation(config, progress, request, task)
        try:
            await investigation.run()
        finally:
            investigation.close()
            if investigation.results:
                await _conclude(config, investigation, progress, request)
    if investigation.paused:
        return INTERRUPTED
    concluded = all(result.status == "concluded" for result in investigation.results.values())
    return DONE if concluded and not investigation.not_begun else UNITS_FAILED


async def _conclude(config: Config, investigation: Investigation, progress: Progress, request: Request) -> None:
    """Write the index and print the table; whoever stopped at once gets the table alone.

    Raises:
        JournalError: The disk takes no index; the table was printed.
    """
    refused: JournalError | None = None
    if not investigation.stopped:
        progress.stage("writing the index")
        try:
            await asyncio.to_thread(rebuild, config.out, truth_of, canonical=canonical)
        except JournalError as error:
            refused = error
    progress.close()
    show(
        results_console(),
        config.out,
        investigation.ordered,
        not_begun=investigation.not_begun,
        again=request.again,
        whole=bool(request.question),
    )
    if refused is not None:
        raise refused


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


def show(
    console: Console,
    out: Path,
    results: Sequence[UnitResult],
    *,
    not_begun: int = 0,
    again: CommandLine | None = None,
    whole: bool = False,
) -> None:
    """Print the table, or the whole answers instead; which units have none, how to go on, and where the report is."""
    if whole:
        show_answers(console, results)
    else:
        show_table(console, results)
    show_failures(console, results, not_begun, again)
    if (out / INDEX).exists():
        console.print(Text.assemble("Report: ", (str((out / INDEX).resolve()), "bold")), soft_wrap=True)
