"""Patterns stand for what shells make of them."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.services.building.datasets.braces import expanded, has_braces


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{008..011}.tar", ["a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"]),
        ("a-{9..11}", ["a-9", "a-10", "a-11"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{1..010}x", [f"{number:03d}x" for number in range(1, 11)]),
        ("{train,val}-{0..1}", ["train-0", "train-1", "val-0", "val-1"]),
        ("{a,}b", ["ab", "b"]),
        ("{a}{}{", ["{a}{}{"]),
    ],
)
def test_expansion(pattern: str, names: list[str]) -> None:
    assert list(expanded(pattern)) == names
    assert has_braces(pattern) == (names != [pattern])


def test_a_range_larger_than_memory_is_taken_one_by_one() -> None:
    assert list(islice(expanded("{0..99999999999999}"), 2)) == ["0", "1"]


@given(st.integers(0, 10**6), st.integers(0, 50), st.integers(1, 9))
def test_a_padded_range_counts_in_order(start: int, count: int, width: int) -> None:
    names = list(expanded(f"{{{start:0{width}d}..{start + count:0{width}d}}}"))
    assert [int(name) for name in names] == list(range(start, start + count + 1))
