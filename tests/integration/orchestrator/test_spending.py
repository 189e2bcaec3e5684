"""A run on a budget, with a backbone that describes, cut at any event: it goes on to the same end, and pays once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from maia.orchestrator.agents.models import ModelFacts, Price
from maia.orchestrator.budget import BatchBudget, Budget
from maia.orchestrator.context import ContextLimits
from maia.orchestrator.conversation import Message, Picture, Reply, TokenUsage
from maia.orchestrator.events import BackboneReply, DescriberReply, Finished, UnitName, UserMessage
from maia.orchestrator.journal import FILE_NAME, IMAGES, JournalReader
from maia.orchestrator.report import collect, write_unit
from maia.orchestrator.run import RunSettings, investigate_unit, unit_folder
from maia.orchestrator.wiring import Describing, Lab

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNIT = UnitName("scene-neurons", "or", 1)
FACTS = ModelFacts(price=Price(input=1000, output=0, cache_read=100, cache_write=0))
LOOK = "```python\n{}\n```"
REPLIES = (
    LOOK.format("images = tools.text2image(['a red circle', 'a blue square', 'a star'])\ntools.display(images)"),
    LOOK.format("print(tools.describe_images(images, ['a', 'b', 'c']))\nprint(tools.summarize_images(images))"),
    LOOK.format("tools.display(images[::-1])\nprint(tools.describe_images(images[:1], ['a']))"),
    LOOK.format("print('never run')"),
    "[DESCRIPTION]: It likes circles.\n[LABEL 1]: circle\n",
)
BUDGET = Budget(tokens=470)  # after two replies of 110 and four descriptions of 40, 80 % is spent; after three, all


@dataclass
class Vendor:
    """Answers an agent by its turn and a describer by its question; keeps what it was asked."""

    name: str
    agent: bool
    asked: list[Sequence[Message]] = field(default_factory=list)

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        self.asked.append(tuple(messages))
        if not self.agent:
            (message,) = messages
            shown = [part.sha256 if isinstance(part, Picture) else part.text for part in message.parts]
            return Reply(f"{hash(tuple(shown)):x}", self.name, TokenUsage(input=40), "end_turn")
        turn = sum(message.role == "assistant" for message in messages)
        return Reply(REPLIES[turn], self.name, TokenUsage(input=10, cache_read=100), "end_turn")

    async def aclose(self) -> None:
        pass


@dataclass
class Run:
    """What came of a run: how it ended, its journal, and what was asked."""

    finished: Finished
    journal: JournalReader
    agent: Vendor
    describer: Vendor
    batch: BatchBudget


async def investigated(lab: Lab, out: Path) -> Run:
    agent, describer = Vendor("agent", agent=True), Vendor("describer", agent=False)
    batch = BatchBudget(Budget(usd=1000))
    lab = replace(
        lab,
        backbone=agent,
        facts=FACTS,
        limits=ContextLimits(pictures=4),
        describing=Describing(describer, FACTS),
    )
    settings = RunSettings("agent", out, max_rounds=10, budget=BUDGET, batch=batch, policy="off")
    finished = await investigate_unit(UNIT, lab, settings)
    assert isinstance(finished, Finished), finished
    return Run(finished, JournalReader(unit_folder(out, "agent", UNIT)), agent, describer, batch)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return await investigated(lab, tmp_path_factory.mktemp("whole"))


def said(run: Run) -> list[UserMessage]:
    return [replace(event, at=0.0) for event in run.journal.events if isinstance(event, UserMessage)]


async def test_the_agent_is_told_and_asked_to_conclude_and_everything_is_counted(whole: Run) -> None:
    assert [(message.why, message.budget) for message in said(whole)] == [
        ("task", ""),
        ("results", ""),
        ("results", "near"),
        ("final", "spent"),
        ("format", ""),
    ]
    assert (whole.finished.how, whole.finished.rounds) == ("concluded", 3)
    assert len(whole.describer.asked) == 4, "three pictures and one summary; the same picture again costs nothing"
    assert whole.finished.usage == {"input": 5 * 10 + 4 * 40, "cache_read": 500, "output": 0, "cache_write": 0}
    assert whole.finished.usd == pytest.approx(0.21 + 0.05)
    assert whole.batch.spending.tokens == 710
    result = collect(whole.journal.folder)
    assert result.tokens == 710
    assert result.usd == pytest.approx(0.26)
    assert result.pictures == 3 + 3 + 3
    stored = write_unit(whole.journal.folder, None)
    assert stored.usage == whole.finished.usage
    assert "$0.26" in (whole.journal.folder / "experiment.html").read_text()


async def test_old_pictures_give_way_in_the_run(whole: Run) -> None:
    shown = [[p.name for m in asked for p in m.parts if isinstance(p, Picture)] for asked in whole.agent.asked]
    first, again = shown[1], shown[3]
    assert shown == [[], first, first, again, again]
    assert again == first[::-1]
    assert f"[pictures {', '.join(first)} were shown here" in whole.agent.asked[3][2].text


def ends_of_lines(journal: bytes) -> list[int]:
    return [place + 1 for place, byte in enumerate(journal) if byte == ord("\n")]


async def test_cut_after_any_event_it_goes_on_to_the_same_end_and_pays_once(
    lab: Lab, whole: Run, tmp_path: Path
) -> None:
    journal = (whole.journal.folder / FILE_NAME).read_bytes()
    for number, end in enumerate(ends_of_lines(journal)[1:-1:2]):
        out = tmp_path / str(number)
        folder = unit_folder(out, "agent", UNIT)
        shutil.copytree(whole.journal.folder / IMAGES, folder / IMAGES)
        (folder / FILE_NAME).write_bytes(journal[:end])
        before = JournalReader(folder).events
        again = await investigated(lab, out)
        assert said(again) == said(whole)
        assert again.finished.usage == whole.finished.usage, "what had arrived is counted, and once"
        assert again.finished.usd == pytest.approx(whole.finished.usd)
        assert collect(folder).usage == whole.finished.usage
        had = sum(isinstance(event, BackboneReply) for event in before)
        assert again.agent.asked == whole.agent.asked[had:]
        described = sum(isinstance(event, DescriberReply) for event in before)
        assert len(again.describer.asked) == 4 - described, "no reply that had arrived is asked for again"
