"""What became of one unit, as its journal tells: the row of a table and the content of `result.json`."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from maia.orchestrator.answers import FORMS, Form
from maia.orchestrator.budget import Spending
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import (
    BackboneReply,
    Event,
    Finished,
    RunStarted,
    Stopped,
    ToolCalled,
    UnitName,
    UserMessage,
)
from maia.orchestrator.journal import FILE_NAME, JournalReader
from maia.orchestrator.report.exemplars import exemplar_lists
from maia.orchestrator.report.gallery import Gallery
from maia.orchestrator.report.visible import one_line

Status = Literal["concluded", "no_conclusion", "paused", "interrupted", "invalid", "unfinished", "unreadable"]
"""Only "concluded" is a finding.

"paused", "interrupted", "invalid": as of `maia.orchestrator.events.Stopped`; the same `maia run` goes on from there.
"unfinished": the run is going on, or was killed. "unreadable": the journal is damaged.
"""

_OUT_OF_BUDGET: Final = "its budget was spent, and asked to conclude the agent gave no answer in the agreed form"
_STRIP: Final = 5
_HEADLINE: Final = 160

Canonical = Callable[[str], str | None]
"""Gives the one form of a label that equal labels share, or None for a label that it does not understand."""


@dataclass(config=ConfigDict(extra="forbid", frozen=True), slots=True)
class UnitResult:
    """One row of a table.

    Attributes:
        folder: Where the unit's files are.
        unit: Which unit.
        agent: As it was given to --agent.
        status: How the run ended.
        labels: Of the conclusion, as `maia.orchestrator.answers` says for each form; empty unless concluded.
        description: Of the conclusion, likewise.
        answer: The conclusion as plain JSON, its form and its fields; empty unless concluded.
        task: What was asked.
        question: A user's, of the tasks that take one.
        truth: What the unit is known to be; None where nobody knows.
        matched: Whether a label equals the truth; None without a truth or a conclusion that has labels.
        rounds: Replies whose code was run.
        tool_calls: Made by all blocks.
        seconds: From the start to the end.
        reason: Why there is no finding; empty when concluded.
        exemplars: The first exemplars' files, relative to the folder.
        usage: Tokens of all replies by kind: input, output, cache_read, cache_write.
        usd: What they cost in US dollars; None where a price is not known.
        pictures: Shown to the agent and to a backbone that described for it.
    """

    folder: Path
    unit: UnitName
    agent: str
    status: Status
    labels: tuple[str, ...] = ()
    description: str = ""
    truth: str | None = None
    matched: bool | None = None
    rounds: int = 0
    tool_calls: int = 0
    seconds: float = 0.0
    reason: str = ""
    exemplars: tuple[str, ...] = ()
    answer: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""
    question: str = ""
    usage: Mapping[str, int] = field(default_factory=dict)
    usd: float | None = None
    pictures: int = 0

    @property
    def form(self) -> Form | None:
        """Of the answer; None unless concluded, or of a form that this version does not know."""
        return next((form for form in FORMS if form == self.answer.get("form")), None)

    @property
    def headline(self) -> str:
        """The answer in one line: its labels, or of one that has none its text."""
        return "; ".join(self.labels) or one_line(self.description, _HEADLINE)

    @property
    def out_of_budget(self) -> bool:
        """Whether it has no conclusion since a budget, the unit's or the batch's, was spent."""
        return self.reason == _OUT_OF_BUDGET

    @property
    def tokens(self) -> int:
        """Of all kinds."""
        return sum(self.usage.values())

    @property
    def spending(self) -> Spending:
        """What the unit has spent, for the budget of a batch."""
        return Spending(Counter(self.usage), self.usd, self.tool_calls, self.pictures, self.seconds)


def stopped_result(known: UnitResult | None, folder: Path, unit: UnitName, agent: str, end: Stopped) -> UnitResult:
    """Return the result of a run that was stopped just now.

    It may have stopped before its run began, or been refused for what the journal holds, so that the journal does not
    say why; and what an earlier run has found there is no finding of this one.

    Args:
        known: What the journal says; None without one that can be read.
        folder: The unit's.
        unit: Which.
        agent: As given to --agent.
        end: How it was stopped.
    """
    status: Status = "invalid" if end.why == "failed" else end.why
    reason = f"{end.reason}: {end.message}"
    if known is None:
        return UnitResult(folder, unit, agent, status, reason=reason)
    return dataclasses.replace(
        known, unit=unit, agent=agent, status=status, reason=reason, labels=(), description="", answer={}, matched=None
    )


def collect(folder: Path, truth: str | None = None, canonical: Canonical | None = None) -> UnitResult:
    """Read a unit's result from its journal and write nothing.

    Args:
        folder: The unit's folder.
        truth: What the unit is known to be.
        canonical: How labels are compared; `plain_label` where it is None or answers None.

    Raises:
        JournalError: The journal is missing or damaged, or holds no run.
    """
    reader = JournalReader(folder)
    return result_of(reader, Gallery(reader), truth, canonical)


def result_of(
    reader: JournalReader, gallery: Gallery, truth: str | None, canonical: Canonical | None = None
) -> UnitResult:
    """Return the result that a journal tells; arguments and errors as of `collect`."""
    started = run_started(reader)
    finished = next((event for event in reversed(reader.events) if isinstance(event, Finished)), None)
    concluded = finished is not None and finished.how == "concluded"
    labels = tuple(" ".join(label.split()) for label in finished.labels) if finished and concluded else ()
    answer = _answer(finished) if finished and concluded else {}
    comparable = answer.get("form") == "labels"
    status, reason = _status(finished, reader.events)
    calls = sum(isinstance(event, ToolCalled) for event in reader.events)
    spending = Spending.of(reader.events)
    return UnitResult(
        folder=reader.folder,
        unit=started.unit,
        agent=started.agent,
        status=status,
        labels=labels,
        description=finished.description if finished and concluded else "",
        truth=truth,
        matched=any(same_label(label, truth, canonical) for label in labels) if truth and comparable else None,
        rounds=finished.rounds
        if finished
        else max((event.round for event in reader.events if isinstance(event, BackboneReply)), default=0),
        tool_calls=finished.tool_calls if finished else calls,
        seconds=finished.seconds if finished else max(event.at for event in reader.events),
        reason=reason,
        exemplars=tuple(file for file in _exemplar_files(reader, gallery) if file)[:_STRIP],
        usage=dict(spending.usage),
        usd=spending.usd,
        pictures=spending.pictures,
        answer=answer,
        task=started.task,
        question=started.question,
    )


def run_started(reader: JournalReader) -> RunStarted:
    """Return the first event of a run.

    Raises:
        JournalError: The journal does not begin with one.
    """
    first = reader.events[0] if reader.events else None
    if not isinstance(first, RunStarted):
        raise JournalError(f"{reader.folder / FILE_NAME} does not begin with a run; delete the folder and run the unit")
    return first


def same_label(label: str, truth: str, canonical: Canonical | None = None) -> bool:
    """Tell whether two labels say the same, in the form that `canonical` gives them, else that of `plain_label`."""
    first, second = (canonical(label), canonical(truth)) if canonical else (None, None)
    if first is None or second is None:
        first, second = plain_label(label), plain_label(truth)
    return first == second


def plain_label(label: str) -> str:
    """Return a label in lower case, its articles and punctuation dropped, the operands of "or" or "and" sorted."""
    words = [word for word in re.findall(r"[\w'-]+", label.casefold()) if word not in ("a", "an", "the")]
    for joint in ("or", "and"):
        if joint in words:
            text = " ".join(words)
            return f" {joint} ".join(sorted(part.strip() for part in text.split(f" {joint} ")))
    return " ".join(words)


def _status(finished: Finished | None, events: Sequence[Event]) -> tuple[Status, str]:
    if finished is not None:
        if finished.how == "concluded":
            return finished.how, ""
        if any(isinstance(event, UserMessage) and event.budget == "spent" for event in events):
            return finished.how, _OUT_OF_BUDGET
        return finished.how, "the agent gave no answer in the agreed form within its rounds"
    last = events[-1]
    if isinstance(last, Stopped):
        reason = f"{last.reason}: {last.message}" if last.message else last.reason
        return "invalid" if last.why == "failed" else last.why, reason
    return "unfinished", "the journal has no end: the run is still going, or was killed"


def _answer(finished: Finished) -> Mapping[str, Any]:
    if finished.answer:
        return finished.answer
    # Of a journal from before there were other forms.
    return {"form": "labels", "description": finished.description, "labels": list(finished.labels)}


def _exemplar_files(reader: JournalReader, gallery: Gallery) -> list[str]:
    lists = exemplar_lists(reader.events, gallery)
    return [gallery.figure(image_id).file for image_id in lists[0][:_STRIP]] if lists else []
