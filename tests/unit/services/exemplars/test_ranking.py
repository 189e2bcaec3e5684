"""One pass gives exactly what sorting everything would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maia.services.exemplars.ranking import TopPictures, ValueCounts


def data(seed: int, pictures: int, units: int, *, ties: bool) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    rng = np.random.default_rng(seed)
    maps = rng.normal(0, 3, (pictures, units, 2, 3)).astype(np.float16)
    if ties:
        maps = np.round(maps)
    return maps.max(axis=(2, 3)).astype(np.float32), maps


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 999), st.integers(15, 60), st.integers(1, 4), st.integers(1, 20), st.booleans())
def test_the_top_pictures_are_those_of_a_full_sort(
    seed: int, pictures: int, units: int, batch: int, ties: bool
) -> None:
    activations, maps = data(seed, pictures, units, ties=ties)
    top = TopPictures(units, 15, (2, 3))
    for start in range(0, pictures, batch):
        top.add(start, activations[start : start + batch], maps[start : start + batch])
    for unit in range(units):
        expected = np.lexsort((np.arange(pictures), -activations[:, unit]))[:15]
        assert top.indices[unit].tolist() == expected.tolist()
        assert np.array_equal(top.activations[unit], activations[expected, unit])
        assert np.array_equal(top.maps[unit], maps[expected, unit])


@settings(deadline=None, max_examples=20)
@given(
    st.integers(0, 999), st.integers(1, 60), st.integers(1, 20), st.sampled_from([0.0, 0.5, 0.99, 1.0]), st.booleans()
)
def test_quantiles_are_exact(seed: int, pictures: int, batch: int, q: float, ties: bool) -> None:
    _, maps = data(seed, pictures, 3, ties=ties)
    counts = ValueCounts(3)
    for start in range(0, pictures, batch):
        counts.add(maps[start : start + batch])
    every = maps.transpose(1, 0, 2, 3).reshape(3, -1).astype(np.float64)
    assert counts.quantile(q) == pytest.approx(np.quantile(every, q, axis=1), rel=1e-6, abs=1e-9)


def test_extremes_and_signed_zeros_are_in_order() -> None:
    counts = ValueCounts(1)
    counts.add(np.array([-65504, -1, -0.0, 0.0, 6e-8, 65504, 65504], np.float16).reshape(1, 1, 1, 7))
    assert counts.quantile(0)[0] == -65504
    assert counts.quantile(0.5)[0] == 0
    assert counts.quantile(2 / 3)[0] == pytest.approx(6e-8, rel=0.1)
    assert counts.quantile(1)[0] == 65504


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    counts = ValueCounts(1)
    with pytest.raises(ValueError, match="no values"):
        counts.quantile(0.5)
    counts.add(np.array([1, value], np.float16).reshape(1, 1, 1, 2))
    with pytest.raises(ValueError, match="not finite"):
        counts.quantile(0.5)
