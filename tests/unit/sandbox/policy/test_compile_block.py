"""Compiling: every text ends in code, a violation or a SyntaxError, and lines stay the source's."""

from __future__ import annotations

import ast
import dis
import linecache
from collections.abc import Callable
from types import CodeType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.sandbox.guest.policy import PolicyViolation, compile_block, make_namespace

_WORDS = """x __class__ _z . .format ( ) [ ] { } = := : , * ** @ def class lambda match case if else for in return yield
    import from as global try except with async await 1 'a' f'{x.y}' + and not None"""
WORDS = st.sampled_from([*_WORDS.split(), "\n", "\n\t", "\n\t\t"])


def compiled(source: str, *, restricted: bool = True) -> CodeType | PolicyViolation | SyntaxError:
    """What compiling comes to."""
    try:
        return compile_block(source, "<block 1>", restricted=restricted)
    except (PolicyViolation, SyntaxError) as error:
        return error


@pytest.mark.parametrize("restricted", [True, False])
@pytest.mark.parametrize(
    "source",
    [
        "x =",
        "x = 1\x00",
        "'\ud800'",
        "(" * 10_000,
        "-" * 100_000 + "1",
        "x" + ".a" * 50_000,
        "x = " + "[" * 150 + "]" * 150,
        "+".join(["1"] * 100_000),
        "return 1",
        "def f():\n  global x\n  nonlocal x",
    ],
    ids=["half", "nul", "surrogate", "parentheses", "minus", "attributes", "brackets", "sum", "return", "scope"],
)
def test_what_does_not_compile_is_a_syntax_error(source: str, restricted: bool) -> None:
    outcome = compiled(source, restricted=restricted)
    if isinstance(outcome, CodeType):
        ast.parse(source)  # what this Python's parser can hold may compile
    else:
        assert isinstance(outcome, SyntaxError)
        assert outcome.filename == "<block 1>"
        assert outcome.lineno


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=60))
def test_any_text_compiles_or_says_why(source: str) -> None:
    outcome, plain = compiled(source), compiled(source, restricted=False)
    if isinstance(outcome, PolicyViolation):
        assert outcome.line is not None
        assert 1 <= outcome.line <= source.count("\n") + source.count("\r") + 1
        assert outcome.filename == "<block 1>"
    elif isinstance(outcome, SyntaxError):
        assert isinstance(plain, SyntaxError)
    else:
        assert isinstance(plain, CodeType)
        assert lines_of(outcome) == lines_of(plain)


def lines_of(code: CodeType) -> set[int]:
    """All lines that a code object and those inside it can be at."""
    lines = {line for _, line in dis.findlinestarts(code) if line is not None}
    return lines.union(*(lines_of(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def test_attributes_are_the_only_thing_rewritten() -> None:
    source = "a[0] += 1\nfor (i, j) in x:\n    f(*i, **j)\nb, c = d\nprint(f'{a}')\nclass C(B, k=1): ...\n"
    plain = compile_block(source, "<block 1>", restricted=False)
    assert compile_block(source, "<block 1>", restricted=True).co_code == plain.co_code


def test_source_lines_are_where_tracebacks_look() -> None:
    compile_block("a = 'x\x0cy'\r\nb = 2\rc = '\u2028'\n", "<block 7>", restricted=True)
    assert linecache.getline("<block 7>", 2) == "b = 2\n"
    assert linecache.getline("<block 7>", 3) == "c = '\u2028'\n"


def test_future_flags_of_this_package_do_not_leak_into_blocks(run: Callable[..., str]) -> None:
    source = "def f(a: 1 + 1): ...\nprint(f.__annotations__)"
    assert run(source) == run(source, restricted=False) == "{'a': 2}\n"


@pytest.mark.parametrize("name", ["__builtins__", "__name__", "two words", "", "1st"])
def test_reserved_and_malformed_names_are_not_bound(name: str) -> None:
    with pytest.raises(ValueError, match="cannot bind"):
        make_namespace({name: 1}, restricted=True, allowed_imports=())


def test_sessions_do_not_share_builtins() -> None:
    first = make_namespace({}, restricted=True, allowed_imports=["math"])
    second = make_namespace({}, restricted=True, allowed_imports=["json"])
    exec(compile_block("import math", "<block 1>", restricted=True), first)
    with pytest.raises(ImportError, match="available are: json"):
        exec(compile_block("import math", "<block 1>", restricted=True), second)
