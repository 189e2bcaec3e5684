"""What `maia ablate` reads and prints; that it holds units is seen in tests/e2e."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from maia.cli.ablation import Ablated, Change, parse_hold, record, show, strongest
from maia.cli.errors import CommandError
from maia.orchestrator.clients import Effect, Unit


def effect(before: list[float], after: list[float]) -> Effect:
    return Effect(np.array(before, np.float32), np.array(after, np.float32))


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("-3.5", -3.5), ("1e3", 1000.0), ("mean", None)])
def test_a_unit_is_held_at_a_number_or_its_mean(text: str, value: float | None) -> None:
    assert parse_hold(text) == value


@pytest.mark.parametrize("text", ["", "max", "nan", "inf", "1e39", "Mean"])
def test_what_a_unit_cannot_be_held_at_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="give a number, for example 0, or mean"):
        parse_hold(text)


def test_the_classes_that_change_most_come_first_and_of_equals_the_more_probable() -> None:
    found = strongest(effect([0.1, 0.5, 0.1, 0.25, 0.05], [0.1, 0.25, 0.1, 0.5, 0.05]), "abcde", 4)
    assert [(change.index, change.name) for change in found] == [(1, "b"), (3, "d"), (0, "a"), (2, "c")]
    assert (found[0].before, found[0].after) == (0.5, 0.25)


def test_more_classes_than_there_are_means_all_of_them() -> None:
    assert len(strongest(effect([0.5, 0.5], [0.4, 0.6]), "ab", 100)) == 2


def test_what_is_no_number_comes_last_and_is_null_in_json() -> None:
    nan = float("nan")
    changes = strongest(effect([nan, 0.5, 0.5], [nan, 0.5, nan]), "abc", 3)
    assert changes[0].name == "b"
    line = json.dumps(record(Ablated(Path("x.png"), Unit("layer3", 12), 0.0, "float16", changes)), allow_nan=False)
    classes = json.loads(line)["classes"]
    assert [one["after"] for one in classes] == [0.5, None, None]


def test_the_table_names_picture_and_unit_once_and_shows_the_change() -> None:
    changes = (Change(7, "goldfish\u202e", 0.75, 0.25), Change(1, "tench", 0.125, 0.5))
    console = Console(file=io.StringIO(), width=120)
    show(console, [Ablated(Path("cat.png"), Unit("layer3", 12), 1.5, "float32", changes)])
    assert isinstance(console.file, io.StringIO)
    head, _, first, second, *_ = [line.split() for line in console.file.getvalue().splitlines() if line.strip()]
    assert head == ["picture", "unit", "held", "at", "class", "before", "after", "change"]
    assert first == ["cat.png", "layer3:12", "1.5", "goldfish[U+202E]", "0.7500", "0.2500", "-0.5000"]
    assert second == ["tench", "0.1250", "0.5000", "+0.3750"]
