"""No text stays invisible, reorders its surroundings, or cannot be written to a file."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maia.orchestrator.report.visible import one_line, shorten, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\0b", "a␀b"),
        ("\x1b[31mred", "␛[31mred"),
        ("user\u202e txt.exe", "user[U+202E] txt.exe"),
        ("one\r\ntwo\rthree", "one\ntwo␍three"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("tab\tand\nline, שלום, é 🙂", "tab\tand\nline, שלום, é 🙂"),
    ],
)
def test_controls_are_shown_and_letters_are_left_alone(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters()))
def test_what_is_shown_holds_no_control_and_fits_utf8(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert {unicodedata.category(letter) for letter in shown if letter not in "\n\t"}.isdisjoint({"Cc", "Cs"})
    assert not {unicodedata.bidirectional(letter) for letter in shown} & {
        "RLO",
        "LRO",
        "RLE",
        "LRE",
        "RLI",
        "LRI",
        "FSI",
    }


@given(st.text(max_size=60), st.integers(2, 20))
def test_one_line_is_one_short_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1


def test_a_line_is_cut_between_words_where_it_has_any() -> None:
    assert one_line("it responds to  red circles", 22) == "it responds to red…"
    assert one_line("it responds", 11) == "it responds"
    assert one_line("x" * 30, 10) == "x" * 9 + "…"


def test_a_cut_says_how_much_is_missing_and_where_it_is() -> None:
    assert shorten("x" * 3, 3) == "xxx"
    assert shorten("x" * 2003, 3, rest="in journal.jsonl") == "xxx… [2,000 more characters in journal.jsonl]"
