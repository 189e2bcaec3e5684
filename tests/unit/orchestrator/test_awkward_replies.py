"""A library of awkward replies, as models write them, with the right reading of each and what happens next.

The files of `replies/` hold one table a reply. Line ends and characters that an editor would change are escaped.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from maia.orchestrator.agent import Agent
from maia.orchestrator.answers import FORMS, Form, answer_to_json
from maia.orchestrator.conversation import Message, Reply, Text
from maia.orchestrator.events import Finished, TextPart, UserMessage
from maia.orchestrator.journal import JournalReader, JournalWriter
from maia.orchestrator.parsing import parse_reply
from maia.orchestrator.protocols import Shown
from maia.orchestrator.record import Record
from maia.orchestrator.tasks import Task, load_task

LIBRARY = Path(__file__).parent / "replies"
REPLIES: list[dict[str, Any]] = [
    entry for file in sorted(LIBRARY.glob("*.toml")) for entry in tomllib.loads(file.read_text("utf-8"))["reply"]
]
TASKS: dict[Form, Task] = {
    "labels": load_task("neuron_description"),
    "bias": load_task("class_bias"),
    "verdict": load_task("spurious_feature"),
    "text": load_task("question", question="Does it respond to ties?"),
}
each_reply = pytest.mark.parametrize("entry", REPLIES, ids=lambda entry: entry["name"])


@dataclass
class Once:
    """Gives one reply, and whatever is asked then, nothing of use."""

    text: str
    name: str = "once"
    asked: int = 0

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        self.asked += 1
        return Reply(self.text if self.asked == 1 else "Hm.", "once")

    async def aclose(self) -> None:
        pass


@dataclass
class Bench:
    """Runs nothing, and remembers what it should have run."""

    ran: list[str] = field(default_factory=list)

    async def run(self, number: int, code: str) -> Shown:
        self.ran.append(code)
        return Shown((Text("ran"),), ok=True)


def test_the_library_is_large_and_names_each_reply_once() -> None:
    assert len(REPLIES) >= 40
    assert len({entry["name"] for entry in REPLIES}) == len(REPLIES)
    assert {entry.get("form", "labels") for entry in REPLIES} == set(FORMS)
    known = {"name", "form", "reply", "next", "blocks", "answer", "unclosed", "unproven"}
    assert [entry["name"] for entry in REPLIES if set(entry) - known] == []


@each_reply
def test_what_is_read(entry: dict[str, Any]) -> None:
    parsed = parse_reply(entry["reply"], entry.get("form", "labels"))
    assert list(parsed.blocks) == [block.removeprefix("\n") for block in entry.get("blocks", [])]
    assert (answer_to_json(parsed.conclusion) if parsed.conclusion else None) == entry.get("answer")
    assert parsed.unclosed is entry.get("unclosed", entry["next"] == "cut_block")


@each_reply
async def test_what_happens_next(entry: dict[str, Any], tmp_path: Path) -> None:
    task, bench = TASKS[entry.get("form", "labels")], Bench()
    with JournalWriter(tmp_path) as journal:
        finished = await Agent(Once(entry["reply"]), bench, Record(journal), task, "system", 3).run()
    after = [event for event in JournalReader(tmp_path).events if isinstance(event, UserMessage | Finished)][1]
    if entry["next"] == "concluded":
        assert isinstance(after, Finished)
        assert finished.how == "concluded"
        assert finished.answer == entry["answer"]
        return
    assert finished.how == "no_conclusion"
    assert finished.answer == {}
    assert isinstance(after, UserMessage)
    assert after.why == entry["next"]
    assert len(bench.ran) == len(entry.get("blocks", []))
    said = "\n".join(part.text for part in after.parts if isinstance(part, TextPart))
    assert (task.reminder("unproven") in said) is entry.get("unproven", False)
    assert (task.reminder("cut_block") in said) is entry.get("unclosed", after.why == "cut_block")
