"""One unit from start to end: journal, session, loop."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import importlib.metadata
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from maia.orchestrator.agent import Agent
from maia.orchestrator.api_text import api_text
from maia.orchestrator.clients import Describer, Editor, Generator, Servers, SubjectInfo, Terms
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import Event, Finished, RunStarted, Stopped, UnitName
from maia.orchestrator.gateway import Gateway
from maia.orchestrator.images import ImageTable
from maia.orchestrator.journal import JournalReader, JournalWriter
from maia.orchestrator.record import Record
from maia.orchestrator.tasks import Task, load_task
from maia.orchestrator.tasks.units import refuse_units, unit_in_words
from maia.orchestrator.toolbox import Study, run_tag
from maia.orchestrator.wiring import Lab
from maia.orchestrator.workbench import SandboxWorkbench, Transcript
from maia.sandbox import Limits, SandboxError
from maia.wire.errors import InternalError, MaiaError

log = structlog.stdlib.get_logger("maia.run")

_LONGEST_NAME: Final = 200
"""Bytes of a folder's name, whose limit is 255."""

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
        seed: Every seed of a run derives from it.
        policy: The sandbox's language policy.
        limits: Of the sandbox session.
        config: The whole configuration for the journal, without secrets.
    """

    agent: str
    out: Path
    task: Task | str = "neuron_description"
    max_rounds: int = 25
    seed: int = 0
    policy: Literal["restricted", "off"] = "restricted"
    limits: Limits = field(default_factory=Limits)
    config: Mapping[str, Any] = field(default_factory=dict)


def unit_folder(out: Path, agent: str, unit: UnitName, task: Task | None = None) -> Path:
    """Return where a unit's journal and results lie; an agent's name with slashes or colons becomes one folder.

    Each task has its own folders, so that no answer stands where another was asked for.
    """
    for part in filter(None, task.folder.split("/") if task else ()):
        out /= _file_name(part)
    return out / _file_name(agent) / _file_name(unit.model) / _file_name(unit.layer) / str(unit.index)


async def investigate_unit(
    unit: UnitName, lab: Lab, settings: RunSettings, on_event: Callable[[Event], None] | None = None
) -> Finished | Stopped:
    """Investigate one unit and journal all of it.

    Args:
        unit: Must exist; its subject server was asked before.
        lab: What all units share.
        settings: How.
        on_event: Told every event as it is journaled.

    Returns:
        Finished with a conclusion or without one; Stopped when a server, the sandbox or the backbone failed for good,
        which ends this unit and no other. When the servers fail before the run has begun, there is no journal.

    Raises:
        NotFoundError: There is no such task.
        PreconditionError: The task takes a question, and there is none.
        JournalError: The journal cannot be written, or holds a run already.
        asyncio.CancelledError: The run was interrupted; the journal says so.
    """
    task = settings.task if isinstance(settings.task, Task) else load_task(settings.task)
    try:
        run = _Run(unit, lab, settings, task, *await _introductions(lab.servers, unit))
        refuse_units(task, run.subject, [unit.layer])
    except MaiaError as error:
        return _stopped(error)
    folder = unit_folder(settings.out, settings.agent, unit, task)
    with JournalWriter(folder) as journal:
        if JournalReader(folder).events:
            raise JournalError(f"{folder} holds a run already; start over in another --out, or remove that folder")
        if on_event is not None:
            journal.listeners.append(on_event)
        try:
            return await run.investigate(Record(journal))
        except asyncio.CancelledError:
            journal.append(Stopped(why="interrupted", reason="INTERRUPTED", message="stopped by the user"), sync=True)
            raise
        except JournalError:
            raise
        except (MaiaError, SandboxError) as error:
            stopped = _stopped(error)
            journal.append(stopped, sync=True)
            return stopped
        except Exception as error:
            # Thousands of units may follow, so it ends this one only; the log has its traceback.
            log.exception("a run ended by a fault that nobody planned for", unit=str(unit))
            stopped = Stopped(why="failed", reason="INTERNAL", message=f"{type(error).__name__}: {error}")
            journal.append(stopped, sync=True)
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

    async def investigate(self, record: Record) -> Finished:
        """Run the loop in a session of its own."""
        started = self._started()
        record.journal.append(started, sync=True)
        transcript = Transcript(record)
        images = ImageTable(record, tag=run_tag(self.settings.seed, self.unit))
        study = Study(self.lab.servers, images, self.unit, self.subject.revision, self.settings.seed)
        gateway = Gateway(study, record, transcript)
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
        agent = Agent(
            self.lab.backbone,
            workbench,
            record,
            self.task,
            started.system_prompt,
            self.settings.max_rounds,
            unit_in_words(self.subject, self.unit.layer, self.unit.index),
        )
        try:
            return await agent.run()
        finally:
            await workbench.close()

    def _started(self) -> RunStarted:
        return RunStarted(
            unit=self.unit,
            agent=self.settings.agent,
            task=self.task.name,
            question=self.task.question,
            seed=self.settings.seed,
            started_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            versions={"maia": importlib.metadata.version("maia"), "python": platform.python_version()},
            servers={
                "subject": f"{self.subject.name} {self.subject.revision}",
                "generation": f"{self.generator.name} {self.generator.revision}",
                "editing": f"{self.editor.name} {self.editor.revision}",
                "description": f"{self.describer.name} {self.describer.revision}",
            },
            sandbox={
                "tier": self.lab.host.tier,
                "policy": self.settings.policy,
                "features": [asdict(feature) for feature in self.lab.host.features],
            },
            config=self.settings.config,
            system_prompt=self.task.system_prompt(
                api=api_text(),
                prompt_guide=self.generator.prompt_guide,
                instruction_guide=self.editor.instruction_guide,
            ),
        )


async def _introductions(servers: Servers, unit: UnitName) -> tuple[SubjectInfo, Generator, Editor, Describer]:
    """Ask the servers who they are."""
    terms = Terms.within(_INTRODUCTIONS_S)
    return await asyncio.gather(
        servers.subject.info(unit.model, terms),
        servers.generation.generator(terms),
        servers.editing.editor(terms),
        servers.description.describer(terms),
    )


def _stopped(error: MaiaError | SandboxError) -> Stopped:
    reason = error.reason if isinstance(error, MaiaError) else "SANDBOX_FAILED"
    return Stopped(why="failed", reason=reason, message=str(error))


def _file_name(name: str) -> str:
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
    if not safe.strip("."):
        raise InternalError(f"{name!r} makes no file name")
    if len(safe.encode()) <= _LONGEST_NAME:
        return safe
    # A replayed folder's path may be longer than a file's name can be; the hash tells apart what is cut off.
    return f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{safe[-_LONGEST_NAME // 4 :]}"
