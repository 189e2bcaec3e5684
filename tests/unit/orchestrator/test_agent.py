"""The loop, driven by prepared replies and a workbench that records what it was given."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from maia.orchestrator.agent import Agent
from maia.orchestrator.answers import TAGS, Bias, Verdict, Words, answer_from_json
from maia.orchestrator.budget import Budget, Ledger
from maia.orchestrator.context import ContextLimits
from maia.orchestrator.conversation import Message, Picture, Reply, Text, TokenUsage
from maia.orchestrator.errors import BackboneError
from maia.orchestrator.events import Finished, PicturePart, UserMessage
from maia.orchestrator.journal import JournalReader, JournalWriter
from maia.orchestrator.pausing import Pause, PausedError
from maia.orchestrator.protocols import Shown
from maia.orchestrator.record import Record
from maia.orchestrator.tasks import Task, load_task

CONCLUSION = "[DESCRIPTION]: It likes red.\n[LABEL 1]: red\n[LABEL 2]: crimson"


def code(*blocks: str) -> str:
    return "\n".join(f"```python\n{block}\n```" for block in blocks)


@dataclass
class PreparedBackbone:
    """Answers with prepared replies and keeps the conversations that it was shown."""

    replies: list[str | Reply]
    seen: list[list[Message]] = field(default_factory=list)
    name: str = "prepared"

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        self.seen.append(list(messages))
        if len(self.seen) > len(self.replies):
            raise BackboneError("no more replies", transient=False)
        reply = self.replies[len(self.seen) - 1]
        return reply if isinstance(reply, Reply) else Reply(reply, "prepared")

    async def aclose(self) -> None:
        pass


@dataclass
class EchoBench:
    """Shows back the code; a block with `fail` fails."""

    ran: list[tuple[int, str]] = field(default_factory=list)

    async def run(self, number: int, code: str) -> Shown:
        self.ran.append((number, code.strip()))
        return Shown((Text(f"ran {code.strip()}"),), ok="fail" not in code)


@dataclass
class Trial:
    finished: Finished
    bench: EchoBench
    backbone: PreparedBackbone
    messages: list[UserMessage]


async def investigate(folder: Path, *replies: str | Reply, max_rounds: int = 10, task: Task | None = None) -> Trial:
    backbone, bench = PreparedBackbone(list(replies)), EchoBench()
    with JournalWriter(folder) as journal:
        asked = task or load_task("neuron_description")
        agent = Agent(backbone, bench, Record(journal), asked, "system", max_rounds, unit="unit 3 of the layer mono")
        finished = await agent.run()
    events = JournalReader(folder).events
    assert isinstance(events[-1], Finished)
    assert events[-1].labels == finished.labels
    return Trial(finished, bench, backbone, [event for event in events if isinstance(event, UserMessage)])


async def test_blocks_run_in_order_and_their_results_are_the_next_message(tmp_path: Path) -> None:
    trial = await investigate(tmp_path, code("a", "b"), code("c"), CONCLUSION)
    assert trial.bench.ran == [(1, "a"), (1, "b"), (2, "c")]
    assert trial.finished.how == "concluded"
    assert trial.finished.description == "It likes red."
    assert trial.finished.labels == ["red", "crimson"]
    assert trial.finished.rounds == 3
    second = trial.backbone.seen[1][-1]
    assert second.role == "user"
    assert second.text.index("ran a") < second.text.index("ran b")


async def test_what_was_sent_never_changes(tmp_path: Path) -> None:
    trial = await investigate(tmp_path, code("a"), "", "thinking", code("b"), CONCLUSION)
    for earlier, later in zip(trial.backbone.seen, trial.backbone.seen[1:], strict=False):
        assert later[: len(earlier)] == earlier
        assert [message.role for message in later] == ["user", "assistant"] * (len(later) // 2) + ["user"]
        assert all(message.text for message in later)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("Let me think.", "no_code"),
        ("", "empty_reply"),
        ("  \n", "empty_reply"),
        ("```python\nx = ", "cut_block"),
        ("[DESCRIPTION]: It likes red.", "format"),
        ("[LABEL 1]: red", "format"),
    ],
)
async def test_a_reply_that_lacks_something_is_told_what_and_the_run_goes_on(
    tmp_path: Path, reply: str, why: str
) -> None:
    trial = await investigate(tmp_path, reply, CONCLUSION)
    assert [message.why for message in trial.messages] == ["task", why]
    assert trial.finished.how == "concluded"


async def test_code_and_conclusion_in_one_reply_run_first_and_do_not_conclude(tmp_path: Path) -> None:
    trial = await investigate(tmp_path, code("a") + "\n" + CONCLUSION, CONCLUSION)
    assert trial.bench.ran == [(1, "a")]
    assert trial.finished.rounds == 2
    assert "ran a" in trial.backbone.seen[1][-1].text
    assert load_task("neuron_description").reminder("unproven") in trial.backbone.seen[1][-1].text


@pytest.mark.parametrize("word", ["max_tokens", "length"])
async def test_a_conclusion_that_was_cut_is_asked_for_again(tmp_path: Path, word: str) -> None:
    cut = Reply("[DESCRIPTION]: It likes red.\n[LABEL 1]: red stri", "prepared", stop_reason=word)
    trial = await investigate(tmp_path, cut, CONCLUSION)
    assert [message.why for message in trial.messages] == ["task", "format"]
    assert trial.finished.labels == ["red", "crimson"]


async def test_blocks_after_a_failed_one_are_not_run_and_the_agent_is_told(tmp_path: Path) -> None:
    trial = await investigate(tmp_path, code("a", "fail", "c"), CONCLUSION)
    assert [ran for _, ran in trial.bench.ran] == ["a", "fail"]
    assert "not run, since block 2 failed" in trial.backbone.seen[1][-1].text


async def test_after_the_last_round_comes_the_final_instruction(tmp_path: Path) -> None:
    trial = await investigate(tmp_path, code("a"), code("b"), CONCLUSION, max_rounds=2)
    assert [message.why for message in trial.messages] == ["task", "results", "final"]
    assert "ran b" in trial.backbone.seen[2][-1].text
    assert trial.finished.how == "concluded"
    assert trial.finished.rounds == 2


async def test_code_after_the_last_round_is_not_run_and_a_conclusion_beside_it_counts(tmp_path: Path) -> None:
    trial = await investigate(tmp_path, code("a"), code("late") + "\n" + CONCLUSION, max_rounds=1)
    assert [ran for _, ran in trial.bench.ran] == ["a"]
    assert trial.finished.how == "concluded"


FORMS = {
    "class_bias": ("[CONTEXT 1]: outdoors", Bias("Low outdoors.", ("outdoors",))),
    "spurious_feature": ("[VERDICT]: perhaps", Verdict("SPURIOUS", "Grass drives it.")),
    "question": ("[ANSWER]:", Words("To collars.")),
}
WRITTEN = {
    "class_bias": "[BIAS]: Low outdoors.\n[CONTEXT 1]: outdoors",
    "spurious_feature": "[VERDICT]: SPURIOUS\n[REASONING]: Grass drives it.",
    "question": "[ANSWER]: To collars.",
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("max_rounds", [1, 10])
async def test_an_answer_of_any_form_that_is_not_whole_is_asked_for_once_more(
    tmp_path: Path, name: str, max_rounds: int
) -> None:
    task = load_task(name, question="Ties or collars?" if name == "question" else "")
    half, answer = FORMS[name]
    trial = await investigate(tmp_path, code("a"), half, WRITTEN[name], max_rounds=max_rounds, task=task)
    last = trial.backbone.seen[-1][-1].text
    assert trial.messages[-1].why == "format"
    assert last == task.reminder("format")
    assert TAGS[task.form].split(" and ")[0] in last
    assert "unit 3 of the layer mono" in trial.backbone.seen[0][0].text
    assert answer_from_json(trial.finished.answer) == answer
    assert (trial.finished.description, tuple(trial.finished.labels)) == (answer.description, answer.labels)


async def test_the_run_stops_hard_when_no_conclusion_comes(tmp_path: Path) -> None:
    trial = await investigate(tmp_path, *[code("a")] * 20, max_rounds=3)
    assert len(trial.bench.ran) == 3
    assert len(trial.backbone.seen) == 5
    assert trial.finished.how == "no_conclusion"
    assert trial.finished.labels == []


async def test_a_backbone_that_fails_ends_the_run_with_its_error(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="no more replies"):
        await investigate(tmp_path, code("a"))
    assert [event.kind for event in JournalReader(tmp_path).events] == ["user_message", "reply", "user_message"]


async def test_a_pause_lets_the_round_be_finished_and_its_results_be_journaled(tmp_path: Path) -> None:
    pause = Pause()

    class Asking(EchoBench):
        async def run(self, number: int, code: str) -> Shown:
            if "second" in code:
                pause.ask("enough for today")
            return await EchoBench.run(self, number, code)

    backbone, bench = PreparedBackbone([code("first"), code("second", "third"), CONCLUSION]), Asking()
    with JournalWriter(tmp_path) as journal:
        task = load_task("neuron_description")
        agent = Agent(backbone, bench, Record(journal), task, "system", 10, pause)
        with pytest.raises(PausedError, match="enough for today"):
            await agent.run()
    assert [ran for _, ran in bench.ran] == ["first", "second", "third"]
    assert len(backbone.seen) == 2
    last = JournalReader(tmp_path).events[-1]
    assert isinstance(last, UserMessage)
    assert (last.round, last.why) == (2, "results")


def spent(reply: str, tokens: int) -> Reply:
    return Reply(reply, "prepared", TokenUsage(input=tokens))


async def on_a_budget(folder: Path, *replies: Reply, budget: Budget, max_rounds: int = 10) -> Trial:
    backbone, bench, ledger = PreparedBackbone(list(replies)), EchoBench(), Ledger(budget)
    with JournalWriter(folder) as journal:
        journal.listeners.append(ledger.note)
        record, task = Record(journal), load_task("neuron_description")
        agent = Agent(
            backbone, bench, record, task, "system", max_rounds, ledger=ledger, cost=lambda usage: usage.input / 100
        )
        finished = await agent.run()
    events = JournalReader(folder).events
    return Trial(finished, bench, backbone, [event for event in events if isinstance(event, UserMessage)])


async def test_an_agent_is_told_once_that_its_budget_is_nearly_spent_and_concludes_when_it_is(tmp_path: Path) -> None:
    replies = [spent(code(name), 300) for name in "abcd"] + [spent(code("late"), 10), spent(CONCLUSION, 10)]
    trial = await on_a_budget(tmp_path, *replies, budget=Budget(tokens=1100))
    assert [message.budget for message in trial.messages] == ["", "", "", "near", "spent", ""]
    assert [message.why for message in trial.messages] == ["task", "results", "results", "results", "final", "format"]
    assert "900 tokens of 1,100 tokens" in trial.backbone.seen[3][-1].text
    last = trial.backbone.seen[4][-1].text
    assert last.index("ran d") < last.index("1,200 tokens of 1,100 tokens") < last.index("Conclude now")
    assert [ran for _, ran in trial.bench.ran] == ["a", "b", "c", "d"]
    assert (trial.finished.how, trial.finished.rounds) == ("concluded", 4)
    assert trial.finished.usage["input"] == 1220
    assert trial.finished.usd == pytest.approx(12.2)


async def test_an_agent_that_goes_on_without_a_budget_ends_as_after_its_last_round(tmp_path: Path) -> None:
    trial = await on_a_budget(tmp_path, *[spent(code("a"), 300)] * 9, budget=Budget(usd=3.0))
    assert [message.why for message in trial.messages] == ["task", "final", "format"]
    assert (trial.finished.how, len(trial.backbone.seen)) == ("no_conclusion", 3)


async def test_a_conclusion_on_an_exhausted_budget_still_counts(tmp_path: Path) -> None:
    trial = await on_a_budget(tmp_path, spent(code("a"), 10), spent(CONCLUSION, 9999), budget=Budget(tokens=100))
    assert [message.budget for message in trial.messages] == ["", ""]
    assert trial.finished.how == "concluded"


async def test_old_pictures_give_way_to_their_names_as_the_journal_knows_them(tmp_path: Path) -> None:
    class ShowingBench:
        def __init__(self, record: Record) -> None:
            self.record = record

        async def run(self, number: int, code: str) -> Shown:
            picture = Picture(code.encode(), "image/png", 8, 8)
            self.record.image_ids[picture.sha256] = f"img-{number}"
            return Shown((Text(f"round {number}"), picture), ok=True)

    backbone = PreparedBackbone([code("a"), code("b"), code("c"), CONCLUSION])
    with JournalWriter(tmp_path) as journal:
        record = Record(journal)
        task = load_task("neuron_description")
        limits = ContextLimits(pictures=2)
        await Agent(backbone, ShowingBench(record), record, task, "system", 10, limits=limits).run()
    shown = [[part.name for m in seen for part in m.parts if isinstance(part, Picture)] for seen in backbone.seen]
    assert shown == [[], ["img-1"], ["img-1", "img-2"], ["img-3"]]
    assert "[picture img-1 was shown here; display it again to see it]" in backbone.seen[3][2].text
    parts = [part for event in JournalReader(tmp_path).events if isinstance(event, UserMessage) for part in event.parts]
    assert [part.image_id for part in parts if isinstance(part, PicturePart)] == ["img-1", "img-2", "img-3"]
