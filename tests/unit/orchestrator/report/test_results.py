"""Results: what counts as a finding, and when two labels say the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maia.orchestrator.answers import Answer, Bias, Labels, Verdict, Words, answer_from_json
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import BlockOutput, Stopped, UnitName, UserMessage
from maia.orchestrator.journal import JournalWriter
from maia.orchestrator.report import UnitResult, collect
from maia.orchestrator.report.results import plain_label, same_label, stopped_result

UNIT = UnitName(model="m", layer="l", index=1)
MakeRun = Callable[..., Any]


def test_a_finding(tmp_path: Path, investigated: MakeRun) -> None:
    investigated(tmp_path).conclude("Circles.", ["ring", " a\n circle "])
    result = collect(tmp_path, "circle")
    assert (result.status, result.labels, result.description) == ("concluded", ("ring", "a circle"), "Circles.")
    assert (result.matched, result.reason) == (True, "")
    assert (result.rounds, result.tool_calls, result.seconds) == (6, 7, 74.2)
    assert len(result.exemplars) == 5
    assert all((tmp_path / file).is_file() for file in result.exemplars)
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("answer", "headline"),
    [
        (Labels("d", ("ring", "disc")), "ring; disc"),
        (Bias("Low outdoors.", ("outdoors",)), "outdoors"),
        (Bias("None was found."), "None was found."),
        (Verdict("SPURIOUS", "Grass drives it."), "SPURIOUS"),
        (Words("To collars.\n\nTies give 0.8."), "To collars. Ties give 0.8."),
    ],
)
def test_an_answer_of_any_form_comes_back_and_only_labels_are_held_against_the_truth(
    tmp_path: Path, new_run: MakeRun, answer: Answer, headline: str
) -> None:
    new_run(tmp_path, UNIT, task="question", question="Ties or collars?").answer(answer)
    result = collect(tmp_path, "circle")
    assert answer_from_json(result.answer) == answer
    assert (result.task, result.question, result.headline) == ("question", "Ties or collars?", headline)
    assert result.matched is (False if answer.form == "labels" else None)


def test_a_finding_from_before_there_were_other_forms_has_labels(tmp_path: Path, new_run: MakeRun) -> None:
    new_run(tmp_path, UNIT).conclude("Circles.", ["circle"])
    assert answer_from_json(collect(tmp_path).answer) == Labels("Circles.", ("circle",))


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (lambda run: run.stop("paused", "the server is down"), "paused", "SERVER_UNAVAILABLE: the server is down"),
        (lambda run: run.stop("invalid", "no"), "invalid", "SERVER_UNAVAILABLE: no"),
        (lambda run: run.stop("failed", "as earlier versions wrote"), "invalid", "SERVER_UNAVAILABLE: as earlier"),
        (lambda run: run.stop("interrupted", ""), "interrupted", "INTERRUPTED"),
        (lambda run: run.give_up(), "no_conclusion", "no answer in the agreed form"),
        (lambda run: run.journal.close(), "unfinished", "killed"),
    ],
)
def test_everything_else_is_no_finding_and_says_why(
    tmp_path: Path, investigated: MakeRun, end: Callable[[Any], None], status: str, reason: str
) -> None:
    end(investigated(tmp_path))
    result = collect(tmp_path, "circle")
    assert result.status == status
    assert reason in result.reason
    assert (result.labels, result.description, result.matched) == ((), "", None)
    assert result.rounds == 6


def test_a_run_that_its_budget_has_ended_says_so(tmp_path: Path, new_run: MakeRun) -> None:
    near, spent = new_run(tmp_path / "near", UNIT), new_run(tmp_path / "spent", UNIT)
    near.append(UserMessage(round=1, why="results", parts=[], budget="near"))
    spent.append(UserMessage(round=1, why="results", parts=[], budget="spent"))
    near.give_up()
    spent.give_up()
    first, second = collect(near.folder), collect(spent.folder)
    assert (first.out_of_budget, second.out_of_budget) == (False, True)
    assert "within its rounds" in first.reason
    assert "budget was spent" in second.reason


def test_one_that_concluded_when_its_budget_was_spent_is_a_finding(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(tmp_path, UNIT)
    run.append(UserMessage(round=1, why="results", parts=[], budget="spent"))
    run.conclude("Circles.", ["circle"])
    result = collect(tmp_path)
    assert (result.status, result.reason, result.out_of_budget) == ("concluded", "", False)


def test_a_journal_without_a_run_is_an_error(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal:
        journal.append(BlockOutput(block=1, text="x"))
    with pytest.raises(JournalError, match="does not begin with a run"):
        collect(tmp_path)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Red circle.", "red circle", True),
        ("the star or a circle", "circle or star", True),
        ("blue and striped", "striped and blue", True),
        ("circle or star", "circle and star", False),
        ("red circles", "red circle", False),
        ("orange", "or", False),
    ],
)
def test_plain_labels(one: str, other: str, *, same: bool) -> None:
    assert same_label(one, other) is same


def test_a_canonical_form_is_asked_first_and_need_not_know_everything() -> None:
    known = {"red circles": "red circle", "red circle": "red circle"}
    assert same_label("red circles", "red circle", known.get)
    assert same_label("Fur", "fur", known.get)
    assert plain_label("A red, striped CIRCLE!") == "red striped circle"


@pytest.mark.parametrize(("why", "status"), [("paused", "paused"), ("failed", "invalid")])
def test_a_run_that_was_stopped_takes_nothing_from_what_another_has_found(
    tmp_path: Path, why: Any, status: str
) -> None:
    unit = UnitName("m", "l", 1)
    end = Stopped(why, "REASON", "what happened")
    fresh = stopped_result(None, tmp_path, unit, "a", end)
    assert (fresh.status, fresh.reason, fresh.labels) == (status, "REASON: what happened", ())
    other = UnitResult(
        tmp_path,
        UnitName("m", "l", 2),
        "b",
        "concluded",
        ("red",),
        "It likes red.",
        "red",
        True,
        3,
        answer={"form": "x"},
    )
    told = stopped_result(other, tmp_path, unit, "a", end)
    assert (told.unit, told.agent, told.status, told.rounds) == (unit, "a", status, 3)
    assert (told.labels, told.description, told.answer, told.matched) == ((), "", {}, None)
