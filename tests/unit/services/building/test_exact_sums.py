from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from maia.services.building.exact_sums import ExactSums

MOST = float(2**20 * 3.5e38)
"""What a million of the largest float32 numbers sum up to."""


@given(st.lists(st.floats(-MOST, MOST), min_size=1, max_size=30), st.integers(1, 1 << 40), st.randoms())
def test_a_mean_is_that_of_exact_arithmetic(numbers: list[float], count: int, random: object) -> None:
    numbers = [float(np.float32(number)) if abs(number) < 1e38 else number for number in numbers]
    numbers = [0.0 if 0 < abs(number) < 2.0**-149 else number for number in numbers]
    sums = ExactSums(1)
    sums.add(np.array(numbers)[:, np.newaxis])
    assert sums.means(np.array([count])).tolist() == [float(sum(map(Fraction, numbers)) / count)]
    if math.fsum(numbers):
        assert sums.means(np.array([1]))[0] == math.fsum(numbers)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=20), st.data())
def test_it_does_not_matter_who_adds_what_first(numbers: list[float], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(numbers))
    cut = data.draw(st.integers(0, len(numbers)))
    whole, first, second = (ExactSums(1) for _ in range(3))
    whole.add(np.array(numbers)[:, np.newaxis])
    for part, some in ((first, shuffled[:cut]), (second, shuffled[cut:])):
        for number in some:
            part.add(np.array([[number]]))
    second.merge(first.pieces)
    assert second.means(np.array([3])) == whole.means(np.array([3]))


def test_units_are_apart() -> None:
    sums = ExactSums(2)
    sums.add(np.array([[1.5, -4.0], [2.5, 0.0]]))
    assert sums.means(np.array([2, 4])).tolist() == [2.0, -1.0]
