"""What is shown while a command works."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from maia.cli.progress import Progress


def test_without_a_terminal_there_are_whole_lines_without_control_characters() -> None:
    console = Console(file=(file := io.StringIO()), width=120)
    with Progress(console) as progress:
        progress.stage("starting")
        progress.done("started")
        for done in range(1, 9):
            progress.step("measuring", done, 8)
        progress.show(lambda: Text("only in a terminal"))
        progress.print(Text("a line"))
    lines = file.getvalue().splitlines()
    assert lines[0] == "starting …"
    assert lines[1].startswith("✓ started  ")
    assert lines[2:] == [*(f"measuring: {done} of 8" for done in (2, 4, 6, 8)), "a line"]
    assert "\x1b" not in file.getvalue()


def test_in_a_terminal_what_is_shown_lasts_until_the_next_stage() -> None:
    console = Console(file=(file := io.StringIO()), width=80, force_terminal=True, color_system=None)
    with Progress(console) as progress:
        progress.show(lambda: Text("units at work"))
        progress._live.refresh()
        assert "units at work" in file.getvalue()
        progress.stage("writing the index")
        file.truncate(0)
        progress._live.refresh()
        assert "writing the index" in file.getvalue()
        assert "units at work" not in file.getvalue()
