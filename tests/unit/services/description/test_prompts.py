"""What a model is asked follows from what it is shown."""

from __future__ import annotations

import numpy as np
from tests.unit.services.description.views import upper_half
from tests.unit.services.runtime.pictures import noise

from maia.services.description.model import Question, Task, View
from maia.services.description.prompts import prompt
from maia.wire.maps import darken

RGB = noise(1, 20, 10)
MASKED = View(RGB, upper_half(20, 10))
WHOLE = View(RGB, None)
ALL = View(RGB, np.ones((10, 20), np.bool_))


def asked(*views: View, task: Task = Task.SUMMARIZE) -> str:
    return prompt(Question(task, views))


def test_a_region_is_asked_about_where_there_is_one_and_the_picture_where_there_is_none() -> None:
    for task in Task:
        assert "bright regions" in asked(MASKED, task=task)
        for view in (WHOLE, ALL):  # of a mask that covers all, nothing is dark
            assert "bright" not in asked(view, task=task)
            assert "dark" not in asked(view, task=task)
    assert "in common" not in asked(WHOLE)


def test_a_summary_asks_what_is_common_to_all_of_them() -> None:
    assert "these 3 pictures have in common" in asked(WHOLE, WHOLE, ALL)
    assert "dark" not in asked(WHOLE, WHOLE, ALL)
    assert "Each of these 2 pictures was darkened" in asked(MASKED, MASKED)
    mixed = asked(MASKED, WHOLE, MASKED, MASKED, WHOLE)
    assert "Of these 5 pictures, each of the numbers 1, 3 and 4 was darkened" in mixed
    assert "the others as a whole" in mixed
    assert "number 2 was darkened" in asked(WHOLE, MASKED)


def test_outside_its_mask_a_view_is_darkened_as_everywhere() -> None:
    assert WHOLE.shown is RGB
    assert np.array_equal(MASKED.shown, darken(RGB, upper_half(20, 10)))
    assert np.array_equal(MASKED.shown[:5], RGB[:5])
    assert np.array_equal(MASKED.shown[5:], RGB[5:] // 4)
    empty = View(RGB, np.zeros((10, 20), np.bool_))
    assert [view.empty for view in (WHOLE, MASKED, ALL, empty)] == [False, False, False, True]
