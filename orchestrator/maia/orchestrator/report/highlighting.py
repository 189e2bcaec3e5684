"""Colours Python code: the lexer's tokens, in as few elements as their colours need."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Final

from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer
from pygments.token import STANDARD_TYPES

from maia.orchestrator.report.visible import shorten, visible

LIMIT: Final = 50_000
"""Characters of code that are coloured; the rest of a longer text is left out."""

# Our class by the first letters of Pygments' short name of a token's type.
_CLASSES: Final = {"k": "keyword", "ow": "keyword", "s": "string", "m": "number", "c": "comment", "nb": "name"}
_CLASSES_EXACT: Final = {"nf": "name", "nc": "name", "nn": "name"}
_OPEN: Final = {
    name: Markup('<span class="t-{}">').format(name) for name in {*_CLASSES.values(), *_CLASSES_EXACT.values()}
}
_CLOSE: Final = Markup("</span>")


def highlighted(code: str) -> Markup:
    """Return Python, or whatever was meant to be Python, as coloured HTML; never fails."""
    code = visible(code)
    if len(code) > LIMIT:
        return Markup("{}").format(shorten(code, LIMIT, rest="in journal.jsonl"))
    parts: list[Markup] = []
    for name, group in groupby(_tokens(code), key=lambda token: token[0]):
        text = escape("".join(token for _, token in group))
        parts.append(_OPEN[name] + text + _CLOSE if name else text)
    return Markup("").join(parts)


def _tokens(code: str) -> Iterator[tuple[str, str]]:
    """Yield the colour and text of each token, without the line end that the lexer adds."""
    lexer = _lexer()
    for _, kind, text in lexer.get_tokens_unprocessed(code.rstrip("\n")):
        yield _colour(STANDARD_TYPES.get(kind, "")), text


@cache
def _lexer() -> PythonLexer:
    return PythonLexer()


@cache
def _colour(short: str) -> str:
    if short in _CLASSES_EXACT:
        return _CLASSES_EXACT[short]
    return next((name for start, name in _CLASSES.items() if short.startswith(start)), "")
