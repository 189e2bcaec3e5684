"""Commands that a message tells the user to run."""

from __future__ import annotations

import shlex
from pathlib import Path

from maia.cli.command_line import CommandLine, as_called
from maia.orchestrator.events import UnitName

GIVEN = {
    "model": "timm:resnet50",
    "unit_mode": "random",
    "num_of_units": 3,
    "total_chunks": 4,
    "chunk_id": 0,
    "out": Path("my results"),
    "seed": None,
    "fresh": True,
    "up": True,
    "debug": False,
}


def words(command: str) -> list[str]:
    assert command.startswith(as_called())
    return shlex.split(command.removeprefix(as_called()))


def test_going_on_is_the_same_command_without_starting_over() -> None:
    assert words(CommandLine("run", GIVEN).going_on()) == [
        *("run", "--model", "timm:resnet50", "--unit-mode", "random", "--num-of-units", "3"),
        *("--total-chunks", "4", "--chunk-id", "0", "--out", "my results", "--up"),
    ]


def test_anew_names_the_units_instead_of_how_they_were_chosen() -> None:
    units = [UnitName("timm:resnet50", "layer4", index) for index in (7, 3)] + [UnitName("timm:resnet50", "fc", 1)]
    assert words(CommandLine("run", GIVEN).anew(units, max_rounds=50)) == [
        *("run", "--model", "timm:resnet50", "--out", "my results", "--fresh", "--up"),
        *("--units", "layer4=7,3:fc=1", "--max-rounds", "50"),
    ]


def test_it_can_be_pasted_into_a_shell() -> None:
    command = CommandLine("run", {"agent": "compatible:a b; rm -rf $HOME '"}).going_on()
    assert words(command) == ["run", "--agent", "compatible:a b; rm -rf $HOME '"]


def test_what_stands_without_a_flag_comes_last() -> None:
    question = "Does layer4:122 respond to ties, or to 'collars'?"
    command = CommandLine("ask", {"model": "m", "up": True}, (question,))
    assert words(command.going_on()) == ["ask", "--model", "m", "--up", question]
