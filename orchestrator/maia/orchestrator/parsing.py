"""Reads a backbone's reply: code blocks to run, and a conclusion.

Fences follow CommonMark (section 4.5): three or more backticks or tildes, closed by a line of at least as many of the
same character. A block runs when its info string says Python. A block without an info string runs when the reply has
no Python block and the text parses as Python; blocks in other languages are prose. A block that was never closed does
not run: it was cut, and half an experiment is none.

A conclusion stands outside of fences: "[DESCRIPTION]: …" up to the first "[LABEL 1]: …" tag or the end, then one label
a tag. Markdown emphasis around the tags and any case are accepted.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

_FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^\n]*)$")
_PYTHON = frozenset({"python", "py", "python3", "ipython", "pycon", "{python}"})
_TAG = re.compile(
    r"[*_#> \t]*\[\s*(?P<name>DESCRIPTION|LABEL\s*(?P<number>\d*))\s*\][*_]*[ \t]*:?[*_]*[ \t]*", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A final answer; complete with a description and at least one label."""

    description: str
    labels: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """True with a description and at least one label."""
        return bool(self.description and self.labels)


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """A reply in its parts.

    Attributes:
        blocks: Code to run, in order, without fences.
        conclusion: What was tagged; None without any tag.
        unclosed: A Python fence was opened and never closed.
    """

    blocks: tuple[str, ...]
    conclusion: Conclusion | None
    unclosed: bool


def parse_reply(text: str) -> ParsedReply:
    """Split a reply; never fails, whatever the text."""
    fences, prose, unclosed = _split_fences(text.replace("\r\n", "\n"))
    tagged = tuple(code for info, code in fences if _language(info) in _PYTHON)
    blocks = tagged or tuple(code for info, code in fences if not info.strip() and _is_python(code))
    return ParsedReply(
        blocks=tuple(block for block in blocks if block.strip()), conclusion=_conclusion(prose), unclosed=unclosed
    )


def _language(info: str) -> str:
    words = info.strip().lower().split()
    return words[0] if words else ""


def _split_fences(text: str) -> tuple[list[tuple[str, str]], str, bool]:
    """Return the closed fences as (info, code), the text around them, and whether a Python fence stayed open."""
    fences: list[tuple[str, str]] = []
    prose: list[str] = []
    code: list[str] = []
    opened: tuple[str, str] | None = None
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if opened is None:
            # CommonMark: the info string of a backtick fence holds no backtick, else "```x```" on one line would open.
            if match and not (match["fence"][0] == "`" and "`" in match["info"]):
                opened = (match["fence"], match["info"])
                code = []
            else:
                prose.append(line)
        elif match and not match["info"].strip() and match["fence"].startswith(opened[0]):
            fences.append((opened[1], "\n".join(code) + "\n"))
            opened = None
        else:
            code.append(line)
    unclosed = opened is not None and _language(opened[1]) in _PYTHON | {""}
    return fences, "\n".join(prose), unclosed


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


def _conclusion(prose: str) -> Conclusion | None:
    tags = list(_TAG.finditer(prose))
    if not tags:
        return None
    description = ""
    labels: list[str] = []
    for tag, following in zip(tags, [*tags[1:], None], strict=True):
        body = prose[tag.end() : following.start() if following else len(prose)].strip()
        if tag["name"].upper().startswith("DESCRIPTION"):
            description = body.strip("*_ \n")
        elif body:
            # A label is one line; what follows it is an afterthought.
            label = body.split("\n", 1)[0].strip("*_\"'` \t.")
            if label:
                labels.append(label)
    return Conclusion(description, tuple(labels))
