"""Axes that hold every activation, whatever its size and sign."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.orchestrator.report.gallery import Figure
from maia.orchestrator.report.plot import WIDTH, axis_of, scale, strip

FIGURE = Figure(zoom="z1", picture="p1", mask="", title="<b>", details=(), activation=1.0, file="")


def figures(*activations: float | None) -> list[Figure]:
    return [dataclasses.replace(FIGURE, activation=value) for value in activations]


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=8), st.lists(st.floats(-1e30, 1e30), max_size=8))
def test_everything_lies_on_the_drawing(exemplars: list[float], measured: list[float]) -> None:
    axis = axis_of(figures(*exemplars), figures(*measured))
    assert axis is not None
    assert all(0 <= axis.x(value) <= WIDTH for value in [0.0, *exemplars, *measured])
    assert 2 <= len(axis.ticks) <= 12
    assert axis.band == (min(exemplars), max(exemplars))


def test_ticks_are_round_numbers() -> None:
    axis = axis_of([], figures(9.4, -1.2))
    assert axis is not None
    assert axis.ticks == (-5.0, 0.0, 5.0, 10.0)
    assert all(f">{tick}<" in scale(axis) for tick in ("-5", "0", "5", "10"))


@pytest.mark.parametrize("values", [(), (None,)])
def test_without_an_activation_there_is_no_axis(values: tuple[None, ...]) -> None:
    assert axis_of([], figures(*values)) is None


def test_a_strip_has_one_link_a_measurement_and_escapes_names() -> None:
    axis = axis_of(figures(8, 9), figures(1, 2))
    assert axis is not None
    drawn = strip(axis, figures(1, None, 2))
    assert drawn.count("<circle") == drawn.count('href="#z1"') == 2
    assert drawn.count('class="band"') == 1
    assert "<b>" not in drawn
