"""Units at work, as a person sees them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from maia.cli.batch_view import BatchView
from maia.cli.progress import Progress
from maia.cli.spending import Spending
from maia.orchestrator.events import BackboneReply, PicturePart, TextPart, ToolCalled, UnitName, UserMessage
from maia.orchestrator.report import UnitResult

UNITS = [UnitName("scene-neurons", "mono", index) for index in range(5000)]
LONG = UnitName("transformers:google/siglip2-so400m-patch16-naflex", "vision_model.encoder.layers.26.mlp.fc2", 4303)


def reply(round_: int = 2, **usage: int) -> BackboneReply:
    return BackboneReply(round=round_, text="Let us see.", model="m", seconds=0.1, usage=usage)


def result(unit: UnitName, status: str = "concluded", **more: object) -> UnitResult:
    return UnitResult(folder=Path("x"), unit=unit, agent="scripted", status=status, **more)  # type: ignore[arg-type]


def view(total: int, *, width: int = 80, height: int = 24, live: bool = True, **more: object) -> BatchView:
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=live, color_system=None, legacy_windows=False
    )
    return BatchView(Progress(console), total, 25, **more)  # type: ignore[arg-type]


def printed(shown: BatchView) -> str:
    file = shown.progress.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def table(shown: BatchView) -> list[str]:
    console = shown.progress.console
    with console.capture() as capture:
        console.print(shown.table())
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_single_unit_takes_a_single_line() -> None:
    shown = view(1)
    shown.unit_started(UNITS[3])
    shown.unit_event(UNITS[3], reply())
    shown.unit_event(UNITS[3], ToolCalled(block=1, call=1, tool="tools.text2image", arguments=[], digest=""))
    (line,) = table(shown)
    assert all(part in line for part in ("scene-neurons mono:3", "2/25", "tools.text2image"))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60), (20, 3)])
@pytest.mark.parametrize("running", [1, 4, 64])
def test_no_row_folds_and_the_table_fits_the_screen(width: int, height: int, running: int) -> None:
    shown = view(5000, width=width, height=height)
    for unit in (LONG, *UNITS[1:running]):
        shown.unit_started(unit)
        shown.unit_event(unit, UserMessage(round=1, why="task", parts=[]))
        shown.unit_event(unit, reply(25, input=1_000_000))
    lines = table(shown)
    assert len(lines) <= max(height, 5)
    assert all(len(line) <= width for line in lines)
    rows = sum("25/25" in line for line in lines)
    hidden = next((line for line in lines if "more running" in line), "")
    assert hidden == ("" if rows == running else f"  … and {running - rows} more running"[:width]) or width < 40


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_row_keeps_what_tells_units_apart(width: int) -> None:
    shown = view(2, width=width)
    units = [UnitName("synthetic-neurons-of-photographs", "layer4", index) for index in (12, 13)]
    for unit in units:
        shown.unit_started(unit)
    rows = [line for line in table(shown) if "layer4" in line]
    assert "layer4:12 " in rows[0]
    assert "layer4:13 " in rows[1]
    assert all("…" in row for row in rows)


def test_where_a_unit_stands_tells_what_it_has_spent() -> None:
    shown = view(1)
    shown.unit_started(UNITS[0])
    shown.unit_event(UNITS[0], replace(reply(3, input=20, output=5), usd=0.5))
    shown.unit_event(UNITS[0], ToolCalled(block=1, call=4, tool="tools.text2image", arguments=[], digest=""))
    standing = shown.standing(UNITS[0])
    assert (standing.round, standing.spent.calls, standing.spent.tokens, standing.spent.usd) == (3, 4, 25, 0.5)


def test_the_sums_tell_what_waits_runs_and_has_ended() -> None:
    shown = view(8, width=120, already=3)
    for unit in UNITS[:6]:
        shown.unit_started(unit)
    shown.unit_ended(result(UNITS[0], labels=("red",)))
    shown.unit_ended(result(UNITS[1], "no_conclusion"))
    shown.unit_ended(result(UNITS[2], "invalid", reason="INTERNAL: x"))
    shown.unit_ended(result(UNITS[3], "paused", reason="SERVER_UNAVAILABLE: down"))
    shown.unit_left(UNITS[4], "is being written by process 7 on host h")
    (sums,) = [line for line in table(shown) if "waiting" in line]
    assert sums.startswith("2 waiting · 1 running · 2 done · 1 paused · 1 failed · 1 left alone · 3 finished before · ")
    assert shown.running == [UNITS[5]]


def test_tokens_and_money_so_far_and_to_come() -> None:
    shown = view(3, width=120, spending=Spending())
    shown.unit_started(UNITS[0])
    shown.unit_event(UNITS[0], replace(reply(input=1_500_000, output=500_000), usd=2.0))
    assert table(shown)[-1] == "2.0 M tokens · $2.00"
    shown.unit_ended(result(UNITS[0]))
    assert table(shown)[-1] == "2.0 M tokens, about 4.0 M to come · $2.00, about $4.00 to come"
    shown.unit_started(UNITS[1])
    shown.unit_event(UNITS[1], reply(input=500_000))
    assert table(shown)[-1] == "2.5 M tokens, about 3.5 M to come"


def test_an_agent_without_tokens_has_no_line_for_them() -> None:
    shown = view(3)
    shown.unit_started(UNITS[0])
    shown.unit_event(UNITS[0], reply(input=0, output=0))
    assert "tokens" not in "".join(table(shown))


def test_a_pause_is_told_with_how_to_stop_at_once() -> None:
    shown = view(3, width=100)
    shown.unit_started(UNITS[0])
    shown.pausing()
    assert "pausing: 1 running unit to finish the round; Ctrl-C again stops at once" in printed(shown)
    assert table(shown)[-1] == "pausing after this round; Ctrl-C again stops at once"


def test_a_log_has_whole_lines_without_control_characters() -> None:
    shown = view(2, live=False)
    shown.unit_started(UNITS[0])
    shown.unit_started(UNITS[1])
    shown.unit_event(UNITS[1], reply())
    shown.unit_event(UNITS[1], reply())
    shown.unit_ended(result(UNITS[1], labels=("red circle",), rounds=1, tool_calls=2, seconds=3.21))
    shown.unit_ended(result(UNITS[0], "invalid", reason="INTERNAL: a fault"))
    lines = printed(shown).splitlines()
    assert lines[:2] == ["1/2 scene-neurons mono:0", "2/2 scene-neurons mono:1"]
    assert lines[2].startswith("2/2 round 2 of 25, ")
    assert lines[3:] == [
        "✓ 2/2 scene-neurons mono:1  red circle  1 round · 2 calls · 3.2 s",
        "✗ 1/2 scene-neurons mono:0  invalid: INTERNAL: a fault",
    ]
    assert "\x1b" not in printed(shown)


def test_the_log_of_a_long_list_tells_no_rounds_but_ten_times_how_far_it_is() -> None:
    shown = view(1000, live=False)
    for unit in UNITS[:1000]:
        shown.unit_started(unit)
        shown.unit_event(unit, reply())
        shown.unit_ended(result(unit))
    assert "round 2" not in printed(shown)
    sums = [line for line in printed(shown).splitlines() if "waiting" in line]
    assert [line.split(" waiting")[0] for line in sums] == [str(left) for left in range(900, -1, -100)]


def test_the_dialogue_is_printed_with_its_pictures_and_of_several_units_with_their_names() -> None:
    shown = view(2, live=False, width=120, dialogue=True)
    picture = PicturePart("ab" * 32, "image/png", 64, 48, "img7")
    shown.unit_started(UNITS[0])
    shown.unit_event(UNITS[0], UserMessage(round=1, why="results", parts=[TextPart("4.2"), picture]))
    shown.unit_event(UNITS[0], reply())
    for text in ("4.2", "[picture img7, 64 × 48]", "Let us see.", "scene-neurons mono:0: m, round 2"):
        assert text in printed(shown)


def test_text_of_an_agent_cannot_move_the_cursor_or_style_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07[red]label[/red]\r\u202egnp"
    shown = view(3, width=200, dialogue=True)
    shown.unit_started(UNITS[0])
    shown.unit_event(UNITS[0], BackboneReply(round=1, text=hostile, model=hostile, seconds=0.1))
    rows = "\n".join(table(shown))
    shown.unit_ended(result(UNITS[0], labels=(hostile,)))
    shown.unit_started(UNITS[1])
    shown.unit_ended(result(UNITS[1], "invalid", reason=hostile))
    shown.unit_left(UNITS[2], hostile)
    for harm in ("\x1b[2J", "\x1b]0;", "\x07", "\u202e"):
        assert harm not in printed(shown) + rows
    assert "[red]label[/red]" in printed(shown)
