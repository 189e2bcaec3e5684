"""One unit from start to end, in one process or several: journal, session, loop."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from maia.orchestrator.agent import Agent
from maia.orchestrator.api_text import api_text
from maia.orchestrator.budget import BatchBudget, Budget, Ledger
from maia.orchestrator.clients import Describer, Editor, Generator, Servers, SubjectInfo, Terms
from maia.orchestrator.describing import BackboneDescriber
from maia.orchestrator.describing.backbone import answered
from maia.orchestrator.endings import stopped_by
from maia.orchestrator.errors import OTHER_RUN, JournalError, SandboxFailedError
from maia.orchestrator.events import Event, Finished, Resumed, RunStarted, Stopped, UnitName
from maia.orchestrator.gateway import Gateway, GatewayLimits
from maia.orchestrator.gateway.forms import recalled
from maia.orchestrator.images import ImageTable
from maia.orchestrator.journal import JournalWriter, writing
from maia.orchestrator.patience import PATIENCE_S, Attempts
from maia.orchestrator.pausing import Pause
from maia.orchestrator.record import Record
from maia.orchestrator.tape import Tape
from maia.orchestrator.tasks import Task, load_task
from maia.orchestrator.tasks.units import refuse_units, unit_in_words
from maia.orchestrator.toolbox import TOOLS, Study, ToolFunction, run_tag
from maia.orchestrator.wiring import Lab
from maia.orchestrator.workbench import SandboxWorkbench, Transcript
from maia.sandbox import Limits, SandboxError
from maia.wire.errors import DeadlineExceededError, InternalError, MaiaError
from maia.wire.status import RETRYABLE

log = structlog.stdlib.get_logger("maia.run")

_LONGEST_NAME: Final = 200
"""Bytes of a folder's name, whose limit is 255."""

_HOST_PAUSE_S: Final = 2.0

_INTRODUCTIONS_S: Final = 10.0
"""How long the servers may take to describe themselves."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How units are investigated.

    Attributes:
        agent: As the user gave it to --agent.
        out: Results go to `<out>/<agent>/<model>/<layer>/<unit>/`.
        task: What is asked, or the name of a task of `maia.orchestrator.tasks`.
        max_rounds: Replies whose code is run.
        budget: What a unit may spend.
        batch: What all units may spend together, and have spent; give the same to all of them.
        seed: Every seed of a run derives from it.
        policy: The sandbox's language policy.
        limits: Of the sandbox session.
        tools: What agents may call, by name; see `maia.orchestrator.toolbox.with_own`.
        config: The whole configuration for the journal, without secrets.
    """

    agent: str
    out: Path
    task: Task | str = "neuron_description"
    max_rounds: int = 25
    budget: Budget = field(default_factory=Budget)
    batch: BatchBudget = field(default_factory=BatchBudget)
    seed: int = 0
    policy: Literal["restricted", "off"] = "restricted"
    limits: Limits = field(default_factory=Limits)
    tools: Mapping[str, ToolFunction] = field(default_factory=lambda: TOOLS)
    config: Mapping[str, Any] = field(default_factory=dict)

    def folder(self, unit: UnitName) -> Path:
        """Return where a unit's journal and results lie."""
        task = self.task if isinstance(self.task, Task) else load_task(self.task)
        return unit_folder(self.out, self.agent, unit, task)


def unit_folder(out: Path, agent: str, unit: UnitName, task: Task | None = None) -> Path:
    """Return where a unit's journal and results lie; an agent's name with slashes or colons becomes one folder.

    Each task has its own folders, so that no answer stands where another was asked for.
    """
    for part in filter(None, task.folder.split("/") if task else ()):
        out /= _file_name(part)
    return out / _file_name(agent) / _file_name(unit.model) / _file_name(unit.layer) / str(unit.index)


async def investigate_unit(
    unit: UnitName,
    lab: Lab,
    settings: RunSettings,
    on_event: Callable[[Event], None] | None = None,
    *,
    pause: Pause | None = None,
) -> Finished | Stopped:
    """Investigate one unit and journal all of it, or go on with what its journal holds.

    Args:
        unit: Must exist; its subject server was asked before.
        lab: What all units share.
        settings: How.
        on_event: Told every event as it is journaled.
        pause: Stops the run between two rounds when it is asked to.

    Returns:
        Finished with a conclusion or without one, also of a run that had ended before; Stopped when it was paused, or
        when a server, the sandbox or the backbone failed for good, which ends this unit and no other. When the servers
        fail before the run has begun, there is no journal.

    Raises:
        NotFoundError: There is no such task.
        PreconditionError: The task takes a question, and there is none.
        JournalError: The journal cannot be read or written, or is of another unit, task or revision of the subject.
        asyncio.CancelledError: The run was interrupted; the journal says so.
    """
    task = settings.task if isinstance(settings.task, Task) else load_task(settings.task)
    try:
        run = _Run(unit, lab, settings, task, *await _introductions(lab.servers, unit))
        refuse_units(task, run.subject, [unit.layer])
    except MaiaError as error:
        return stopped_by(error)
    folder = unit_folder(settings.out, settings.agent, unit, task)
    async with writing(folder) as journal:
        tape = await asyncio.to_thread(Tape.of, journal.events)
        run.check(tape, folder)
        if tape.finished is not None:
            return tape.finished
        if on_event is not None:
            journal.listeners.append(on_event)
        try:
            return await run.investigate(journal, pause or Pause())
        except asyncio.CancelledError:
            with contextlib.suppress(JournalError):  # nor may a full disk undo the interruption
                await journal.put(Stopped("interrupted", "INTERRUPTED", "stopped before its end"))
            raise
        except JournalError:
            raise
        except (MaiaError, SandboxError) as error:
            stopped = stopped_by(error)
            await journal.put(stopped)
            return stopped
        except Exception as error:
            # Thousands of units may follow, so it ends this one only; the log has its traceback.
            log.exception("a run ended by a fault that nobody planned for", unit=str(unit))
            stopped = stopped_by(error)
            await journal.put(stopped)
            return stopped


@dataclass(frozen=True, slots=True)
class _Run:
    """One run, once the servers have said who they are."""

    unit: UnitName
    lab: Lab
    settings: RunSettings
    task: Task
    subject: SubjectInfo
    generator: Generator
    editor: Editor
    describer: Describer

    def check(self, tape: Tape, folder: Path) -> None:
        """Refuse to go on with what is not this run.

        Raises:
            JournalError: The message says what differs.
        """
        before = tape.started
        if before is None:
            if tape.keeps:
                raise JournalError(f"the journal in {folder} does not begin with a run; use another --out")
            return
        same = [
            ("the unit", str(before.unit), str(self.unit)),
            ("the agent", before.agent, self.settings.agent),
            ("the task", before.task, self.task.name),
            ("the question", before.question, self.task.question),
        ]
        if tape.finished is None:
            now = self._servers()
            same += [
                ("the form of the task's answer", before.form or self.task.form, self.task.form),
                ("the seed", str(before.seed), str(self.settings.seed)),
                *((f"what {name} is done by", then, now.get(name, then)) for name, then in before.servers.items()),
            ]
        for what, then, is_now in same:
            if then != is_now:
                raise JournalError(
                    f"the run in {folder} is another: {what} was {then!r} and is {is_now!r}; set it back, start over"
                    " with --fresh, or use another --out",
                    reason=OTHER_RUN,
                )

    async def investigate(self, journal: JournalWriter, pause: Pause) -> Finished:
        """Run the loop to its end, in a new session whenever the host of the last one is gone."""
        ledger = Ledger(self.settings.budget, self.settings.batch)
        ledger.recall(journal.events)
        journal.listeners.append(ledger.note)
        until: float | None = None
        while True:
            record = Record(journal)
            replies = len(record.tape.replies)
            try:
                return await self._loop(record, ledger, pause)
            except SandboxFailedError as error:
                journal.reread()
                progress = len(Tape.of(journal.events).replies) > replies
                if until is None or progress:
                    until = time.monotonic() + PATIENCE_S
                if not error.passing or time.monotonic() + _HOST_PAUSE_S > until:
                    raise
                log.warning("the sandbox host has no session; it is asked again", unit=str(self.unit), why=str(error))
                await asyncio.sleep(_HOST_PAUSE_S)

    async def _loop(self, record: Record, ledger: Ledger, pause: Pause) -> Finished:
        tape = record.tape
        if tape.started is None:
            started = self._started()
            await record.journal.put(started)
        else:
            started = tape.started
            event = Resumed(keeps=tape.keeps, round=len(tape.replies), resumed_at=_now(), versions=_versions())
            await record.journal.put(event)
        transcript = Transcript(record)
        images = ImageTable(record, tag=run_tag(self.settings.seed, self.unit))
        study = Study(self.lab.servers, images, self.unit, self.subject.revision, self.settings.seed)
        study.describer = self._describing(record, ledger)
        await asyncio.to_thread(restore, tape, images, study)
        gateway = Gateway(study, record, transcript, self._call_limits(), self.settings.tools)
        workbench = SandboxWorkbench(
            record,
            transcript,
            lambda: self.lab.host.open(
                tools=gateway.tools(),
                constants=gateway.constants(),
                limits=self.settings.limits,
                seed=self.settings.seed,
                policy=self.settings.policy,
                images=images,
                on_output=transcript.printed,
            ),
        )
        # Rounds that were had are not taken away.
        max_rounds = max(self.settings.max_rounds, len(tape.replies))
        agent = Agent(
            self.lab.backbone,
            workbench,
            record,
            self.task,
            started.system_prompt,
            max_rounds,
            pause,
            unit_in_words(self.subject, self.unit.layer, self.unit.index),
            limits=self.lab.limits,
            ledger=ledger,
            cost=self.lab.facts.usd,
        )
        try:
            return await agent.run()
        finally:
            await workbench.close()

    def _describing(self, record: Record, ledger: Ledger) -> BackboneDescriber | None:
        """Return the backbone that describes, knowing what the journal holds; None for the description server."""
        describing = self.lab.describing
        if describing is None:
            return None
        known = answered(record.journal.events)
        return BackboneDescriber(describing.backbone, record, ledger, describing.facts.usd, known)

    def _call_limits(self) -> GatewayLimits:
        calls = self.settings.budget.calls
        return GatewayLimits() if calls is None else GatewayLimits(calls=min(calls, GatewayLimits().calls))

    def _described_by(self) -> str:
        describing = self.lab.describing
        return describing.backbone.name if describing else f"{self.describer.name} {self.describer.revision}"

    def _started(self) -> RunStarted:
        return RunStarted(
            unit=self.unit,
            agent=self.settings.agent,
            task=self.task.name,
            question=self.task.question,
            form=self.task.form,
            seed=self.settings.seed,
            started_at=_now(),
            versions=_versions(),
            servers=self._servers(),
            sandbox={
                "tier": self.lab.host.tier,
                "policy": self.settings.policy,
                "features": [asdict(feature) for feature in self.lab.host.features],
            },
            config=self.settings.config,
            system_prompt=self.task.system_prompt(
                api=api_text(self.settings.tools),
                prompt_guide=self.generator.prompt_guide,
                instruction_guide=self.editor.instruction_guide,
            ),
        )

    def _servers(self) -> dict[str, str]:
        return {
            "subject": f"{self.subject.name} {self.subject.revision}",
            "generation": f"{self.generator.name} {self.generator.revision}",
            "editing": f"{self.editor.name} {self.editor.revision}",
            "description": self._described_by(),
        }


def restore(tape: Tape, images: ImageTable, study: Study) -> None:
    """Give a run's images and memory what its journal holds.

    Raises:
        JournalError: A picture is missing or altered.
    """
    for image in tape.images:
        images.restore(image)
    for block in tape.blocks.values():
        for call in block.calls:
            if not call.returned.error:
                study.recall(call.called.tool, recalled(call.returned.value), call.returned.warnings)


async def _introductions(servers: Servers, unit: UnitName) -> tuple[SubjectInfo, Generator, Editor, Describer]:
    """Ask the servers who they are; while one is out of reach, again."""

    async def ask() -> tuple[SubjectInfo, Generator, Editor, Describer]:
        terms = Terms.within(_INTRODUCTIONS_S)
        return await asyncio.gather(
            servers.subject.info(unit.model, terms),
            servers.generation.generator(terms),
            servers.editing.editor(terms),
            servers.description.describer(terms),
        )

    # Of so small a question the deadline passes only while a link is down and nobody has noticed yet.
    return await Attempts(f"the start of {unit}", retryable=(*RETRYABLE, DeadlineExceededError)).make(ask)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    return {"maia": importlib.metadata.version("maia"), "python": platform.python_version()}


def _file_name(name: str) -> str:
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    if not safe.strip("."):
        raise InternalError(f"{name!r} makes no file name")
    if len(safe.encode()) <= _LONGEST_NAME:
        return safe
    # A replayed folder's path may be longer than a file's name can be; the hash tells apart what is cut off.
    return f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{safe[-_LONGEST_NAME // 4 :]}"
