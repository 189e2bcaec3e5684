"""Agents at once are each told what they are told alone. `python -m tests.load` does more, and compares waits."""

from __future__ import annotations

from pathlib import Path

from tests.load.measuring import alike, measure


def test_no_answer_is_lost_or_mixed(tmp_path: Path) -> None:
    load = measure(tmp_path, agents=32, calls=9)
    assert load.calls == 32 * 9
    assert load.different == 0


def test_answers_that_differ_are_told_apart() -> None:
    assert alike([1.0, [b"x", "y"]], [1.01, [b"x", "y"]])
    assert not alike([1.0], [1.02])
    assert not alike([b"x"], [b"z"])
    assert not alike(["a"], ["a", "b"])
    assert not alike(1.0, "1.0")
