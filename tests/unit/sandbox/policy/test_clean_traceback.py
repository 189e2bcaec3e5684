"""Tracebacks show the author's own lines and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from maia.sandbox.guest.policy import clean_traceback, compile_block


def failure(run: Callable[..., str], *blocks: str, restricted: bool = True, limit: int = 8000) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  any error is the subject
        run(*blocks, restricted=restricted)
    text = clean_traceback(caught.value, limit=limit)
    assert "site-packages" not in text
    assert ".py" not in text
    return text


@pytest.mark.parametrize("restricted", [True, False])
def test_frames_of_several_blocks(run: Callable[..., str], restricted: bool) -> None:
    text = failure(run, "def f(x):\n    y = 1\n    return y / x", "\nprint(f(0))", restricted=restricted)
    assert text == (
        "Traceback (most recent call last):\n"
        '  File "<block 2>", line 2, in <module>\n'
        "    print(f(0))\n"
        "          ^^^^\n"
        '  File "<block 1>", line 3, in f\n'
        "    return y / x\n"
        "           ~~^~~\n"
        "ZeroDivisionError: division by zero"
    )


def test_library_frames_are_left_out(run: Callable[..., str]) -> None:
    text = failure(run, "import json\n\ndata = json.loads('{')")
    assert text.startswith(
        "Traceback (most recent call last):\n  File \"<block 1>\", line 3, in <module>\n    data = json.loads('{')\n"
    )
    assert text.splitlines()[-1].startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert text.count("File") == 1


def test_missing_attribute_points_at_the_expression(run: Callable[..., str]) -> None:
    source = "class A: ...\na = A()\nprint(1,\n      a.nope)"
    restricted, plain = failure(run, source), failure(run, source, restricted=False)
    assert restricted == plain
    assert restricted == (
        "Traceback (most recent call last):\n"
        '  File "<block 1>", line 4, in <module>\n'
        "    a.nope)\n"
        "    ^^^^^^\n"
        "AttributeError: 'A' object has no attribute 'nope'"
    )


def test_chained_errors_are_kept(run: Callable[..., str]) -> None:
    text = failure(
        run,
        "import json\ntry:\n    json.loads('')\nexcept ValueError as e:\n    raise KeyError('k') from e",
    )
    assert "direct cause" in text
    assert text.count('File "<block 1>"') == 2
    text = failure(run, "try:\n    1 / 0\nexcept ZeroDivisionError:\n    undefined")
    assert "During handling" in text
    assert text.endswith("NameError: name 'undefined' is not defined")


def test_notes_and_groups_are_kept(run: Callable[..., str]) -> None:
    text = failure(run, "e = ValueError('a')\ne.add_note('the note')\nraise ExceptionGroup('two', [e, TypeError('b')])")
    assert "the note" in text
    assert "ValueError: a" in text
    assert "TypeError: b" in text


def test_a_violation_found_in_the_text_shows_its_line(run: Callable[..., str]) -> None:
    text = failure(run, "x = 1", "y = 2\nz = x.__dict__")
    assert text.startswith(
        "Traceback (most recent call last):\n"
        '  File "<block 2>", line 2, in <module>\n'
        "    z = x.__dict__\n"
        'PolicyViolation: "__dict__" is out of reach'
    )


def test_a_violation_found_while_running_shows_its_lines(run: Callable[..., str]) -> None:
    text = failure(run, "def f():\n    return open('x')", "f()")
    assert text.count("File") == 2
    assert "\nPolicyViolation: open() is not available" in text
    assert "\nImportRefused: the module" in failure(run, "import os")


def test_a_syntax_error_shows_its_line(run: Callable[..., str]) -> None:
    text = failure(run, "x = 1\ny = = 2")
    assert text == '  File "<block 1>", line 2\n    y = = 2\n        ^\nSyntaxError: invalid syntax'


def test_deep_recursion_is_folded(run: Callable[..., str]) -> None:
    text = failure(run, "def f(n):\n    return f(n + 1)\nf(0)")
    assert "Previous line repeated" in text
    assert len(text) < 1000


def test_long_messages_lose_their_middle(run: Callable[..., str]) -> None:
    text = failure(run, "raise ValueError('<' + 'x' * 100_000 + '>')", limit=1000)
    assert len(text) < 1100
    assert text.startswith('Traceback (most recent call last):\n  File "<block 1>"')
    assert text.endswith("x>")
    assert "characters left out" in text


def test_an_error_whose_text_fails(run: Callable[..., str]) -> None:
    source = "class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E"
    assert failure(run, source).endswith("E: <exception str() failed>")


def test_an_error_that_cannot_be_described(run: Callable[..., str]) -> None:
    source = "class E(Exception):\n    @property\n    def __notes__(self):\n        raise KeyError\nraise E"
    assert failure(run, source) == "An exception that cannot be shown: describing it raised KeyError."


def test_lines_of_one_block_survive_the_next_compilation(run: Callable[..., str]) -> None:
    compile_block("other", "<block 9>", restricted=True)
    assert "    1 / 0\n" in failure(run, "1 / 0")
