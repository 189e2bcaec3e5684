"""Answers: when each is whole, what tables show of it, and their way through JSON."""

import json

import pytest

from maia.orchestrator.answers import TAGS, Answer, Bias, Labels, Verdict, Words, answer_from_json, answer_to_json
from maia.orchestrator.tags import begins_answer

WHOLE: list[tuple[Answer, str, tuple[str, ...]]] = [
    (Labels("It likes red.", ("red", "crimson")), "It likes red.", ("red", "crimson")),
    (Bias("Low outdoors.", ("outdoors",)), "Low outdoors.", ("outdoors",)),
    (Bias("None found."), "None found.", ()),
    (Verdict("SPURIOUS", "Grass drives it."), "Grass drives it.", ("SPURIOUS",)),
    (Words("To collars."), "To collars.", ()),
]
HALF: list[Answer] = [
    Labels("d", ()),
    Labels("", ("l",)),
    Bias("", ("c",)),
    Verdict("", "r"),
    Verdict("SELECTIVE", ""),
    Words(""),
]


@pytest.mark.parametrize(("answer", "description", "labels"), WHOLE)
def test_every_form_has_prose_and_phrases_and_comes_back_from_json(
    answer: Answer, description: str, labels: tuple[str, ...]
) -> None:
    assert answer.complete
    assert (answer.description, answer.labels) == (description, labels)
    assert answer_from_json(json.loads(json.dumps(answer_to_json(answer)))) == answer


@pytest.mark.parametrize("answer", HALF)
def test_what_lacks_a_part_is_not_complete(answer: Answer) -> None:
    assert not answer.complete


@pytest.mark.parametrize(
    "value", [{}, {"form": "song"}, {"form": "text"}, {"form": "verdict", "verdict": "MAYBE", "reasoning": "r"}]
)
def test_what_is_no_answer_is_refused(value: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"form|validation"):
        answer_from_json(value)


@pytest.mark.parametrize("form", TAGS)
def test_the_tags_that_reminders_name_are_those_that_are_read(form: str) -> None:
    answers = [answer for answer, _, _ in WHOLE if answer.form == form]
    assert answers
    assert begins_answer(TAGS[answers[0].form], answers[0].form)
