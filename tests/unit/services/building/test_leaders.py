from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from maia.services.building.leaders import Arrivals, Leaders

Table = NDArray[np.float32]
FEW = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 3e38])
"""So few that most pictures are tied."""


def table(units: int = 3) -> st.SearchStrategy[Table]:
    return hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(units)), elements=FEW)


def arrivals(values: Table, slots: NDArray[np.int64]) -> Arrivals:
    """Pictures whose frame and map say which they are."""
    frames = slots[:, np.newaxis] + np.array([0.0, 0.25, 0.5, 0.75])

    def maps(pictures: NDArray[np.intp], units: NDArray[np.intp]) -> NDArray[np.float16]:
        return (slots[pictures] * 10 + units).astype(np.float16)[:, np.newaxis, np.newaxis]

    return Arrivals(slots, frames, values[slots], maps)


def passed(values: Table, top: int, cuts: list[int], slots: NDArray[np.int64]) -> Leaders:
    leaders = Leaders.none(values.shape[1], top, 1, 1)
    for some in np.split(slots, sorted(cut for cut in cuts if cut <= len(slots))):
        if len(some):
            leaders.add(arrivals(values, some))
    return leaders


def check(leaders: Leaders, values: Table, top: int) -> None:
    for unit in range(values.shape[1]):
        order = np.lexsort((np.arange(len(values)), -values[:, unit]))[:top]
        there = len(order)
        assert leaders.slots[unit, :there].tolist() == order.tolist()
        assert leaders.activations[unit, :there].tolist() == values[order, unit].tolist()
        assert leaders.frames[unit, :there].tolist() == [[s, s + 0.25, s + 0.5, s + 0.75] for s in order]
        assert leaders.maps[unit, :there].ravel().tolist() == [s * 10 + unit for s in order]
        assert leaders.slots[unit, there:].tolist() == [-1] * (top - there)
        assert (leaders.activations[unit, there:] == -np.inf).all()


@given(table(), st.integers(1, 12), st.lists(st.integers(0, 30)))
def test_they_are_the_greatest_and_of_equal_ones_the_first(values: Table, top: int, cuts: list[int]) -> None:
    check(passed(values, top, cuts, np.arange(len(values))), values, top)


@given(table(), st.integers(1, 12), st.data())
def test_parts_can_be_merged_in_any_order(values: Table, top: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=4)))
    parts = [passed(values, top, [], slots) for slots in np.split(np.arange(len(values)), cuts)]
    merged = Leaders.none(values.shape[1], top, 1, 1)
    for place in data.draw(st.permutations(range(len(parts)))):
        merged.merge(parts[place])
    check(merged, values, top)
