"""Numbers as people read them."""

import pytest

from maia.cli.words import clock, counted, dollars, short


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (59.94, "59.9 s"), (59.96, "1:00"), (65, "1:05"), (7265, "2:01:05")]
)
def test_durations(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_counts() -> None:
    assert [counted(count, "round") for count in (0, 1, 1200)] == ["0 rounds", "1 round", "1,200 rounds"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0 k"),
        (12_345, "12 k"),
        (999_499, "999 k"),
        (999_500, "1.0 M"),
        (2.5e9, "2,500 M"),
    ],
)
def test_large_counts(count: int, text: str) -> None:
    assert short(count) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "$0.00"), (0.0042, "$0.0042"), (1.371, "$1.37"), (999.999, "$1,000"), (1250.4, "$1,250")]
)
def test_money(amount: float, text: str) -> None:
    assert dollars(amount) == text
