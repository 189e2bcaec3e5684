"""What a model wrote becomes one line, or is told to be none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.services.description.views import described, views

from maia.services.description.answers import NOTHING, Answer, answered, line
from maia.services.description.model import Question, Task, View
from maia.wire.errors import InternalError, PreconditionError


def said(text: str, *, cut: bool = False) -> Answer:
    return line(text, Question(Task.DESCRIBE, (views()[0],), 3), cut=cut, limit=7, model="m")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A red circle.", "A red circle."),
        ("\n  A red\n\ncircle. \r\n", "A red circle."),
        ("A\x00 red\x1b[31m\u2028circle", "A red [31m circle"),
        ("<think>Is it red?\nYes.</think>\n\nA red circle.", "A red circle."),
        ("Is it red? Yes.</think>A red circle.", "A red circle."),
        ("un café, 猫", "un café, 猫"),
    ],
)
def test_an_answer_is_one_line(text: str, expected: str) -> None:
    assert said(text) == expected


@given(st.text(max_size=60), st.booleans())
def test_whatever_is_written_a_line_has_words_and_no_control_characters(text: str, cut: bool) -> None:
    answer = said(text, cut=cut)
    if isinstance(answer, str):
        assert answer
        assert answer == " ".join(answer.split())
        assert answer.isprintable()
    else:
        assert answer.reason == "DESCRIPTION_EMPTY"


def test_an_answer_that_was_cut_shows_it() -> None:
    assert said("A red cir", cut=True) == "A red cir…"


@pytest.mark.parametrize("text", ["", " \n\t", "<think>hm</think>", "<think>It may be"])
def test_no_words_are_an_error_that_says_what_to_do(text: str) -> None:
    for cut, kind, advice in ((False, InternalError, "--model"), (True, PreconditionError, "--max-tokens")):
        error = said(text, cut=cut)
        assert type(error) is kind
        assert isinstance(error, InternalError | PreconditionError)
        assert (error.reason, error.metadata["index"]) == ("DESCRIPTION_EMPTY", "3")
        assert advice in error.message


def test_no_words_of_several_pictures_name_no_single_one() -> None:
    error = line("", Question(Task.SUMMARIZE, tuple(views()[:2])), cut=False, limit=7, model="m")
    assert isinstance(error, InternalError)
    assert "these 2 pictures" in error.message
    assert "index" not in error.metadata


def test_where_nothing_is_highlighted_nobody_is_asked() -> None:
    calls: list[Sequence[Question]] = []

    def ask(questions: Sequence[Question]) -> list[Answer]:
        calls.append(questions)
        return [f"about {question.index}" for question in questions]

    first, second, *_ = views()
    dark = View(first.rgb, np.zeros(first.rgb.shape[:2], np.bool_))
    questions = described(first, dark, second)
    assert answered(questions, ask) == ["about 0", NOTHING, "about 2"]
    assert calls == [[questions[0], questions[2]]]
    assert answered(described(dark), ask) == [NOTHING]
    assert answered([Question(Task.SUMMARIZE, (dark, dark))], ask) == [NOTHING]
    assert len(calls) == 1
    assert answered([Question(Task.SUMMARIZE, (dark, first), 5)], ask) == ["about 5"]
