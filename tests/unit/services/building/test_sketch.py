from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from maia.services.building.sketch import BINS, ERROR, Distribution, ValueSketch

LEAST, MOST = 2.0**-40, 2.0**24

INSIDE = st.floats(-16_000_000, 16_000_000, width=32)
ANY = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-1, 1, width=32),
    st.sampled_from([0.0, -0.0, 2.0**-40, -(2.0**-40), 2.0**24, -(2.0**24), 2.0**-149, 1.0]),
)


def arrays(elements: st.SearchStrategy[float]) -> st.SearchStrategy[NDArray[np.float32]]:
    shapes = st.tuples(st.integers(1, 60), st.integers(1, 4))
    return hnp.arrays(np.float32, shapes, elements=elements)


def sketch(values: NDArray[np.float32], most: int = 1000) -> ValueSketch:
    made = ValueSketch(values.shape[1], most)
    made.add(torch.from_numpy(values), slice(None))
    return made


def bin_of(value: float) -> int:
    """By the definition, with logarithms instead of bits."""
    size = abs(float(value))
    if size < LEAST:
        place = 0
    else:
        exponent = int(np.floor(np.log2(size)))
        place = min((exponent + 40) * 128 + int((size / 2.0**exponent - 1) * 128), BINS // 2 - 1)
    return BINS // 2 - 1 - place if np.signbit(value) else BINS // 2 + place


@given(arrays(ANY))
def test_each_value_is_counted_in_its_bin(values: NDArray[np.float32]) -> None:
    expected = np.zeros((values.shape[1], BINS), np.int64)
    for row in values:
        for unit, value in enumerate(row):
            expected[unit, bin_of(value)] += 1
    assert np.array_equal(sketch(values).counts(), expected)


@given(arrays(ANY))
def test_a_device_counts_as_the_host_does(values: NDArray[np.float32]) -> None:
    made = ValueSketch(values.shape[1], 1000)
    made.add_on_device(torch.from_numpy(values), slice(None))
    assert np.array_equal(made.counts(), sketch(values).counts())


def test_many_values_are_counted_piece_by_piece_and_some_units_after_others() -> None:
    random = np.random.default_rng(1)
    values = (random.standard_normal((3001, 40)) * 10.0 ** random.integers(-14, 9, (3001, 40))).astype(np.float32)
    on_host, on_device = ValueSketch(40, 3001), ValueSketch(40, 3001)
    for units in (slice(0, 17), slice(17, 40)):
        on_host.add(torch.from_numpy(values), units)
        on_device.add_on_device(torch.from_numpy(values), units)
    assert np.array_equal(on_host.counts(), on_device.counts())
    assert (on_host.counts().sum(axis=1) == 3001).all()


@given(arrays(INSIDE), st.floats(0, 1))
def test_a_quantile_is_within_a_bin_of_the_lower_of_the_values_around_it(values: NDArray[np.float32], q: float) -> None:
    found = Distribution(sketch(values).counts()).quantile(q)
    below = np.sort(values.astype(np.float64), axis=0)[int(np.floor(q * (len(values) - 1)))]
    for unit in range(values.shape[1]):
        assert abs(found[unit] - below[unit]) <= max(abs(below[unit]) * ERROR, LEAST * 1.01)


@pytest.mark.parametrize("far", [3e38, 1e8, -1e8])
def test_a_quantile_beyond_the_bins_is_not_known(far: float) -> None:
    found = Distribution(sketch(np.full((10, 1), far, np.float32)).counts()).quantile(0.99)
    assert np.isnan(found[0])
    few = np.ones((1000, 1), np.float32)
    few[0] = abs(far)
    assert Distribution(sketch(few).counts()).quantile(0.99)[0] == pytest.approx(1, rel=ERROR)


def test_a_unit_without_values_has_no_quantile() -> None:
    assert np.isnan(Distribution(np.zeros((1, BINS), np.int64)).quantile(0.5)[0])


@given(arrays(ANY))
def test_density_is_the_share_of_what_is_above_nothing(values: NDArray[np.float32]) -> None:
    counted = Distribution(sketch(values).counts()).density()
    above = values.astype(np.float64) >= LEAST * (1 + 1 / 128)  # the first bin is called nothing
    assert counted.tolist() == above.mean(axis=0).tolist()


@given(arrays(INSIDE), st.integers(1, 70))
def test_a_histogram_has_every_value_near_its_place(values: NDArray[np.float32], bins: int) -> None:
    edges, counts = Distribution(sketch(values).counts()).histogram(bins)
    assert counts.sum(axis=1).tolist() == [len(values)] * values.shape[1]
    for unit in range(values.shape[1]):
        own = np.sort(values[:, unit].astype(np.float64))
        borders = edges[unit].astype(np.float64)
        assert (np.diff(borders) >= 0).all()
        slack = np.maximum(np.abs(own) * ERROR, LEAST * 1.01) + np.abs(borders).max() * 1e-6
        places = np.repeat(np.arange(bins), counts[unit])  # of the values, ascending, as the histogram tells
        assert (borders[places] <= own + slack).all()
        assert (own - slack <= borders[places + 1]).all()


@given(st.lists(hnp.arrays(np.float32, (7, 3), elements=ANY), min_size=3, max_size=3))
def test_parts_can_be_put_together_in_any_way(parts: list[NDArray[np.float32]]) -> None:
    whole = sketch(np.concatenate(parts)).counts()
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        into = ValueSketch(3, 1000)
        for place in order:
            into.merge(*sketch(parts[place]).sparse())
        assert np.array_equal(into.counts(), whole)
    first, last = sketch(parts[0]), sketch(parts[1])
    last.merge(*sketch(parts[2]).sparse())
    first.merge(*last.sparse())
    assert np.array_equal(first.counts(), whole)


@pytest.mark.parametrize(("most", "holds"), [(2**31 - 1, torch.int32), (2**31, torch.int64)])
def test_counts_are_wide_enough_for_all_that_may_come(most: int, holds: torch.dtype) -> None:
    counted = sketch(np.ones((1, 1), np.float32), most)
    assert counted._counts.dtype == holds
    places, counts = counted.sparse()
    counted.merge(places, counts * (2**31 - 2))
    if holds == torch.int64:
        counted.merge(places, counts * (2**33))
        assert counted.counts().sum() == 2**31 - 1 + 2**33
    else:
        assert counted.counts().sum() == 2**31 - 1


def test_units_can_be_counted_by_several() -> None:
    values = np.random.default_rng(1).normal(size=(500, 7)).astype(np.float32)
    counted = ValueSketch(7, 500)
    for part in (slice(0, 3), slice(3, 6), slice(6, 7)):
        counted.add(torch.from_numpy(values), part)
    assert np.array_equal(counted.counts(), sketch(values).counts())
    assert np.array_equal(counted.counts(slice(2, 5)), sketch(values).counts()[2:5])
