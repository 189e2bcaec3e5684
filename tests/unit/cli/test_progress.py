"""What is shown while a command works."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from maia.cli.progress import Progress, Standing
from maia.cli.results import canonical, show_failures, show_table, truth_of
from maia.cli.words import clock, counted
from maia.orchestrator.events import (
    BackboneReply,
    BlockStarted,
    PicturePart,
    TextPart,
    ToolCalled,
    ToolReturned,
    UnitName,
    UserMessage,
)
from maia.orchestrator.report import UnitResult
from maia.services.scenes.labels import canonical_label

UNIT = UnitName("scene-neurons", "mono", 3)
REPLY = BackboneReply(round=2, text="Let us see.", model="m", seconds=0.1)


def result(status: str = "concluded", **more: object) -> UnitResult:
    return UnitResult(folder=Path("x"), unit=UNIT, agent="scripted", status=status, **more)  # type: ignore[arg-type]


def plain() -> Console:
    return Console(file=io.StringIO(), width=120)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_what_is_waited_for_follows_from_the_events() -> None:
    standing = Standing(UNIT, "1/2", max_rounds=5)
    seen = []
    for event in (
        UserMessage(round=0, why="task", parts=[]),
        REPLY,
        BlockStarted(round=2, block=1, code=""),
        ToolCalled(block=1, call=1, tool="tools.text2image", arguments=[], digest=""),
        ToolReturned(call=1, seconds=0.1),
    ):
        standing.note(event)
        seen.append((standing.round_text, standing.doing))
    assert seen == [
        ("", "waiting for the agent"),
        ("round 2 of 5", "reading the reply"),
        ("round 2 of 5", "running code"),
        ("round 2 of 5", "tools.text2image"),
        ("round 2 of 5", "running code"),
    ]


def test_without_a_terminal_there_are_whole_lines_without_control_characters() -> None:
    console = plain()
    with Progress(console) as progress:
        progress.stage("starting")
        progress.done("started")
        for done in range(1, 9):
            progress.step("measuring", done, 8)
        progress.unit_started(UNIT, "1/2", 5)
        progress.on_event(REPLY)
        progress.on_event(REPLY)
        progress.unit_ended(result(labels=("red circle",), rounds=1, tool_calls=2, seconds=3.21))
    lines = shown(console).splitlines()
    assert [line for line in lines if "measuring" in line] == [f"measuring: {done} of 8" for done in (2, 4, 6, 8)]
    assert sum("round 2 of 5" in line for line in lines) == 1
    assert lines[-1] == "✓ 1/2 scene-neurons mono:3  red circle  1 round · 2 calls · 3.2 s"
    assert "\x1b" not in shown(console)


def test_the_dialogue_is_printed_with_its_pictures_named() -> None:
    console = plain()
    picture = PicturePart("ab" * 32, "image/png", 64, 48, "img7")
    with Progress(console, dialogue=True) as progress:
        progress.unit_started(UNIT, "1/1", 5)
        progress.on_event(UserMessage(round=1, why="results", parts=[TextPart("4.2"), picture]))
        progress.on_event(REPLY)
    assert "4.2" in shown(console)
    assert "[picture img7, 64 × 48]" in shown(console)
    assert "Let us see." in shown(console)


def test_text_of_an_agent_cannot_move_the_cursor_or_style_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[red]label[/red]\r\u202egnp"
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with Progress(console, dialogue=True) as progress:
        progress.unit_started(UNIT, "1/1", 5)
        progress.on_event(BackboneReply(round=1, text=hostile, model=hostile, seconds=0.1))
        progress.unit_ended(result(labels=(hostile,)))
        progress.unit_started(UNIT, "1/1", 5)
        progress.unit_ended(result("invalid", reason=hostile))
    progress.close()
    show_table(console, [result(labels=(hostile,))])
    show_failures(console, [result("invalid", reason=hostile)])
    for harm in ("\x1b[2J", "\x1b]0;", "\x07", "\u202e"):
        assert harm not in shown(console)
    assert "[red]label[/red]" in shown(console)


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


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1:00"), (65, "1:05"), (7265, "2:01:05")]
)
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_counts() -> None:
    assert [counted(count, "round") for count in (0, 1, 1200)] == ["0 rounds", "1 round", "1,200 rounds"]
