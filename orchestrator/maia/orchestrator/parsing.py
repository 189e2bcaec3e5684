"""Reads a backbone's reply: code blocks to run, and a conclusion.

Fences follow CommonMark (section 4.5): three or more backticks or tildes, closed by a line of at least as many of the
same character, their indentation taken off the code; they may be indented further than there, and follow the bullet or
number of a list. A block runs when its info string says Python. A block without an info string runs when the reply has
no Python block and the text parses as Python; blocks in other languages are prose. A block that was never closed does
not run: it was cut, and half an experiment is none.

A conclusion is made of tags (`maia.orchestrator.tags`). It stands outside of fences, or in one that begins with it, in
a reply without code.

What a model thinks aloud between <think> and </think>, which some servers leave in the text, is no part of its reply.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from maia.orchestrator.answers import Answer, Form
from maia.orchestrator.tags import begins_answer, read_answer

_FENCE: Final = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^\n]*)$")
_OPENING: Final = re.compile(
    r"^(?P<indent>[ \t]*(?:(?:[-*+•]|\d{1,3}[.)])[ \t]{1,4})?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^\n]*)$"
)
_LANGUAGE: Final = re.compile(r"\s*\{?\.?([^\s:,{}]*)")  # also "python:name.py" and "{.python}"
_PYTHON: Final = frozenset({"python", "py", "python3", "ipython", "pycon", "tool_code"})
_UNSEEN: Final = "\ufeff\u200b\u2060"  # byte order mark, zero-width space, word joiner
_THOUGHT: Final = re.compile(r"\s*<think>")
_END_OF_THOUGHT: Final = re.compile(r"</think>")
_LONE_END_OF_THOUGHT: Final = re.compile(r"^</think>$", re.MULTILINE)  # of servers that begin the thought themselves


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """A reply in its parts.

    Attributes:
        blocks: Code to run, in order, without fences.
        conclusion: What was tagged, complete or not; None without any tag.
        unclosed: A Python fence was opened and never closed.
    """

    blocks: tuple[str, ...]
    conclusion: Answer | None
    unclosed: bool


def parse_reply(text: str, form: Form = "labels") -> ParsedReply:
    """Split a reply; never fails, whatever the text.

    Args:
        text: As it came.
        form: What a conclusion looks like.
    """
    said = _without_thought(text.replace("\r\n", "\n").replace("\r", "\n").lstrip(_UNSEEN))
    fences, prose, rest = _split_fences(said)
    tagged = tuple(code for info, code in fences if _language(info) in _PYTHON)
    blocks = tagged or tuple(code for info, code in fences if not info.strip() and _is_python(code))
    blocks = tuple(block for block in blocks if block.strip())
    conclusion = read_answer(prose, form)
    if not (blocks or conclusion):
        conclusion = _fenced_conclusion([*fences, *rest], form)
    unclosed = any(_is_cut(info, code, form) for info, code in rest)
    return ParsedReply(blocks=blocks, conclusion=conclusion, unclosed=unclosed)


def _without_thought(text: str) -> str:
    """Leave out a thought at the beginning; of one without an end nothing is a reply."""
    if opened := _THOUGHT.match(text):
        ended = _END_OF_THOUGHT.search(text, opened.end())
        return text[ended.end() :] if ended else ""
    ended = _LONE_END_OF_THOUGHT.search(text)
    return text[ended.end() :] if ended else text


def _language(info: str) -> str:
    match = _LANGUAGE.match(info.lower())
    return match[1] if match else ""


def _is_cut(info: str, code: str, form: Form) -> bool:
    """Tell whether an open fence is code that was cut, and not a conclusion or a fence too many."""
    language = _language(info)
    return language in _PYTHON or (not language and bool(code.strip()) and not begins_answer(_first_line(code), form))


_Fence = tuple[str, str]
"""Info string and code."""


def _split_fences(text: str) -> tuple[list[_Fence], str, list[_Fence]]:
    """Return the closed fences, the text around them, and the fence that stayed open, if one did."""
    fences: list[_Fence] = []
    prose: list[str] = []
    code: list[str] = []
    opened: re.Match[str] | None = None
    for line in text.split("\n"):
        match = _OPENING.match(line) if opened is None else _FENCE.match(line)
        if opened is None:
            # CommonMark: the info string of a backtick fence holds no backtick, else "```x```" on one line would open.
            if match and not (match["fence"][0] == "`" and "`" in match["info"]):
                opened = match
                code = []
            else:
                prose.append(line)
        elif match and _closes(match, opened):
            fences.append((opened["info"], "\n".join(code) + "\n"))
            opened = None
        else:
            code.append(_without_indent(line, len(opened["indent"])))
    return fences, "\n".join(prose), [(opened["info"], "\n".join(code))] if opened else []


def _closes(line: re.Match[str], opened: re.Match[str]) -> bool:
    """Tell whether a fence closes another; one that is indented deeper may stand in a string of the code."""
    same = line["fence"].startswith(opened["fence"]) and not line["info"].strip()
    return same and len(line["indent"]) <= len(opened["indent"]) + 3


def _without_indent(line: str, most: int) -> str:
    return line[min(most, len(line) - len(line.lstrip(" \t"))) :]


def _is_python(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return any(_does_something(node) for node in tree.body)


def _does_something(statement: ast.stmt) -> bool:
    """Leave out what parses but is somebody's output: a lone word or number, or "activation: 3.2"."""
    match statement:
        case ast.Expr():
            return isinstance(statement.value, ast.Call)
        case ast.AnnAssign():
            return statement.value is not None
        case _:
            return True


def _fenced_conclusion(fences: Sequence[_Fence], form: Form) -> Answer | None:
    texts = (text for info, text in fences if _language(info) not in _PYTHON)
    return next((read_answer(text, form) for text in texts if begins_answer(_first_line(text), form)), None)


def _first_line(text: str) -> str:
    return text.lstrip().partition("\n")[0]
