"""The table that a command ends with, and what it says of units without a finding."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.unit.orchestrator.report.conftest import Run

from maia.cli.command_line import CommandLine
from maia.cli.results import canonical, show_failures, show_table, truth_of
from maia.orchestrator.events import TextPart, UnitName, UserMessage
from maia.orchestrator.report import UnitResult, collect
from maia.services.scenes.labels import canonical_label

UNIT = UnitName("scene-neurons", "mono", 3)
OR3 = UnitName("scene-neurons", "or3", 3)


def result(status: str = "concluded", unit: UnitName = UNIT, **more: object) -> UnitResult:
    return UnitResult(folder=Path("x"), unit=unit, agent="scripted", status=status, **more)  # type: ignore[arg-type]


def plain() -> Console:
    return Console(file=io.StringIO(), width=120)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_marks_what_equals_the_truth() -> None:
    console = plain()
    rows = [
        result(labels=("red",), truth="red", matched=True),
        result(labels=("blue",), truth="red", matched=False),
        result("invalid", truth="red", reason="SERVER_UNAVAILABLE: gone"),
    ]
    show_table(console, rows)
    show_failures(console, rows)
    assert "✓" in shown(console)
    assert "✗" in shown(console)
    assert "1 of 2 labels equal to the truth" in shown(console)
    assert "1 unit without a finding" in shown(console)
    assert "SERVER_UNAVAILABLE: gone" in shown(console)


def test_units_without_a_truth_have_no_column_for_it() -> None:
    console = plain()
    show_table(console, [result(labels=("red",))])
    assert "truth" not in shown(console)


def test_the_truth_is_known_of_synthetic_units_only() -> None:
    truth = truth_of(UNIT)
    assert truth is not None
    assert canonical(truth) == canonical_label(truth) == truth
    assert truth_of(UnitName("scene-neurons", "mono", 10_000)) is None
    assert truth_of(UnitName("scene-neurons", "gone", 0)) is None
    assert truth_of(UnitName("scenes-cnn", "layer3", 0)) is None


def test_text_of_an_agent_cannot_move_the_cursor_or_style_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[red]label[/red]\r\u202egnp"
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    show_table(console, [result(labels=(hostile,))])
    show_failures(console, [result("invalid", reason=hostile)])
    for harm in ("\x1b[2J", "\x1b]0;", "\x07", "\u202e"):
        assert harm not in shown(console)
    assert "[red]label[/red]" in shown(console)


def test_what_is_not_finished_is_listed_with_the_command_that_goes_on() -> None:
    console = plain()
    rows = [
        result(),
        result("paused", reason="PAUSED: paused by the user"),
        result("unfinished", UnitName("m", "l", 2), reason="is being written by process 7 on host h"),
    ]
    show_failures(console, rows, 40, CommandLine("run", {"model": "m", "fresh": True, "up": True}))
    lines = [line.strip() for line in shown(console).splitlines()]
    assert "2 units without a finding:" in lines
    assert "scene-neurons mono:3: paused by the user" in lines
    assert "m l:2: unfinished: is being written by process 7 on host h" in lines
    assert "40 units not begun" in lines
    assert lines[-1].endswith(" run --model m --up")


def test_units_without_a_conclusion_are_investigated_anew_by_name() -> None:
    console = plain()
    rows = [result(), result("no_conclusion", UnitName("m", "l", 2), rounds=25), result("no_conclusion", rounds=25)]
    show_failures(console, rows, again=CommandLine("run", {"model": "m", "num_of_units": 3, "max_rounds": 25}))
    (command,) = [line for line in shown(console).splitlines() if " run " in line]
    assert command.endswith(" run --model m --max-rounds 50 --units l=2:mono=3 --fresh")


def test_nothing_is_said_where_all_is_well() -> None:
    console = plain()
    show_failures(console, [result()], again=CommandLine("run"))
    assert shown(console) == ""


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ([None, None], "2,200 tokens"),
        ([0.5, None], "2,200 tokens, $0.50 and the unknown cost of 1 unit"),
        ([0.5, 1.0], "2,200 tokens, $1.50"),
    ],
)
def test_money_is_said_as_far_as_it_is_known(prices: list[float | None], said: str) -> None:
    console = plain()
    rows = [result("interrupted", usd=0.0), *(result(usage={"input": 1100}, usd=usd) for usd in prices)]
    show_table(console, rows)
    assert shown(console).splitlines()[-1] == said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"budget": "tokens=500000,usd=0.25"}, "--budget tokens=1000000,usd=0.5 --units mono=3 --fresh"),
        ({"batch_budget": "minutes=30"}, "--batch-budget minutes=60 --units mono=3 --fresh"),
        ({}, "A larger --budget or --batch-budget may lead to a conclusion; "),
    ],
)
def test_where_the_budget_was_spent_more_rounds_are_not_the_advice(
    tmp_path: Path, flags: dict[str, str], said: str
) -> None:
    run = Run(tmp_path, UNIT)
    run.append(UserMessage(round=1, why="results", parts=[TextPart("conclude")], budget="spent"))
    run.give_up()
    console = plain()
    show_failures(console, [collect(tmp_path)], again=CommandLine("run", {"model": "m", **flags}))
    assert "its budget was spent" in shown(console)
    assert said in shown(console)
    assert "max-rounds" not in shown(console)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_on_a_narrow_terminal_words_stay_and_numbers_go(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    spent: dict[str, Any] = {"usage": {"input_tokens": 1_234_567}, "usd": 12.5, "tool_calls": 21, "seconds": 3723.0}
    rows = [
        result(unit=OR3, labels=("crimson",), truth="vermilion", matched=False, **spent),
        result(labels=("red",), truth="red", matched=True, **spent),
    ]
    show_table(console, rows)
    words = shown(console).split()
    assert {"or3:3", "mono:3", "crimson", "vermilion", "✗", "✓", "$12.50"} <= set(words)
    assert "…" not in shown(console)
    assert max(map(len, shown(console).splitlines())) <= width
    assert ("1,234,567" in words) is (width >= 80)


def test_units_of_several_subjects_are_named_with_theirs() -> None:
    console = plain()
    show_table(console, [result(labels=("red",)), result(unit=UnitName("scenes-cnn", "conv1", 0), labels=("blue",))])
    assert "scene-neurons mono:3" in shown(console)
    assert "scenes-cnn conv1:0" in shown(console)
