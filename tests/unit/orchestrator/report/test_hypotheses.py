"""The rule by which statements are found, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.orchestrator.report.hypotheses import statements


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("Hypothesis: red things", ["red things"]),
        ("**Hypothesis 2:** red things", ["red things"]),
        ("- Hypothesis A – round things", ["round things"]),
        ("### Revised hypothesis: rings", ["rings"]),
        ("[HYPOTHESIS]: fur", ["fur"]),
        ("[HYPOTHESIS 3] fur\n[LABEL 1]: no", ["fur"]),
        ("[HYPOTHESIS LIST]:\nHypothesis_1: a\nHypothesis_2: b", ["a", "b"]),
        ("Hypotheses:\n\n1. a\n2. b\n\nNext I test.\n- not one", ["a", "b"]),
        ("**Hypotheses**\n- `red` or\n  blue\n- c", ["`red` or blue", "c"]),
        ("Hypothesis (unlikely): a", ["a"]),
        ("Hypothesis: one that\n  goes on\nand stops", ["one that goes on"]),
        ("Hypothesis testing shows nothing.", []),
        ("My hypothesis: not at the beginning", []),
        ("```python\n# Hypothesis: in code\n```\nHypothesis: outside", ["outside"]),
        ("Hypotheses:\n\nnone yet", []),
        ("", []),
    ],
)
def test_the_rule(reply: str, found: list[str]) -> None:
    assert list(statements(reply)) == found


@given(
    st.lists(st.sampled_from(["Hypothesis: ", "Hypotheses:\n", "- a", "\n", "```", "**", "[", " ", "x"])).map("".join)
)
def test_statements_are_short_single_lines(reply: str) -> None:
    for statement in statements(reply):
        assert statement
        assert len(statement) <= 400
        assert "\n" not in statement


@pytest.mark.parametrize(
    "line", [" " * 100_000, "*" * 100_000, "Hypothesis" + " " * 100_000, "Hypothesis: " + "x" * 100_000]
)
def test_long_lines_take_no_time(line: str) -> None:
    assert all(len(statement) <= 400 for statement in statements(line))
