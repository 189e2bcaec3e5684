"""Reads a backbone's reply: code blocks to run, and a conclusion.

Fences follow CommonMark (section 4.5): three or more backticks or tildes, closed by a line of at least as many of the
same character, their indentation taken off the code; they may be indented further than there, as in lists. A block runs
when its info string says Python. A block without an info string runs when the reply has no Python block and the text
parses as Python; blocks in other languages are prose. A block that was never closed does not run: it was cut, and half
an experiment is none.

A conclusion is "[DESCRIPTION]: …" up to the first "[LABEL 1]: …" tag or the end, then one label a tag. Tags begin a
line, after nothing but Markdown's marks, so that a sentence about the tags concludes nothing; a label with its colon
may also follow in the same line. Any case is accepted. Of two conclusions the last counts. It stands outside of fences,
or in one that begins with it, in a reply without code.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^\n]*)$")
_PYTHON = frozenset({"python", "py", "python3", "ipython", "pycon", "{python}"})
_MARKS = " \t*_#>-+•"
_NUMBERING = re.compile(r"\d{1,2}[.)][ \t*_]{1,8}")
# Bounded repetition keeps the search linear: a model that got stuck writes one character 200,000 times.
_LABEL = r"LABEL[ \t]{0,4}(?P<number>\d{0,3})"
_END = r"[ \t]{0,4}\][*_]{0,3}"
_TAG = re.compile(rf"\[[ \t]{{0,4}}(?P<name>DESCRIPTION|{_LABEL}){_END}[ \t]{{0,4}}:?[*_]{{0,3}}", re.IGNORECASE)
_LABEL_IN_LINE = re.compile(rf"[*_]{{0,3}}\[[ \t]{{0,4}}{_LABEL}{_END}[ \t]{{0,4}}:[*_]{{0,3}}", re.IGNORECASE)


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
    fences, prose, rest = _split_fences(text.replace("\r\n", "\n"))
    tagged = tuple(code for info, code in fences if _language(info) in _PYTHON)
    blocks = tagged or tuple(code for info, code in fences if not info.strip() and _is_python(code))
    blocks = tuple(block for block in blocks if block.strip())
    conclusion = _conclusion(prose)
    if not (blocks or conclusion):
        conclusion = _fenced_conclusion([*fences, *rest])
    unclosed = any(_language(info) in _PYTHON | {""} for info, _ in rest) and not conclusion
    return ParsedReply(blocks=blocks, conclusion=conclusion, unclosed=unclosed)


def _language(info: str) -> str:
    words = info.strip().lower().split()
    return words[0] if words else ""


_Fence = tuple[str, str]
"""Info string and code."""


def _split_fences(text: str) -> tuple[list[_Fence], str, list[_Fence]]:
    """Return the closed fences, the text around them, and the fence that stayed open, if one did."""
    fences: list[_Fence] = []
    prose: list[str] = []
    code: list[str] = []
    opened: re.Match[str] | None = None
    for line in text.split("\n"):
        match = _FENCE.match(line)
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


def _fenced_conclusion(fences: Sequence[_Fence]) -> Conclusion | None:
    texts = (text for info, text in fences if _language(info) not in _PYTHON)
    return next((_conclusion(text) for text in texts if _tag_of(text.lstrip().partition("\n")[0])), None)


def _tag_of(line: str) -> re.Match[str] | None:
    """Return the tag that begins a line."""
    head = line.lstrip(_MARKS)
    numbering = _NUMBERING.match(head)
    return _TAG.match(head[numbering.end() :].lstrip(_MARKS) if numbering else head)


def _conclusion(text: str) -> Conclusion | None:
    sections: list[tuple[str, list[str]]] = []  # the tag's name, "" before the first, and what follows it
    for line in text.split("\n"):
        rest = line
        if tag := _tag_of(line):
            sections.append((_name(tag), []))
            rest = tag.string[tag.end() :]
        if not sections:
            continue
        at = 0
        for label in _LABEL_IN_LINE.finditer(rest):
            sections[-1][1].append(rest[at : label.start()])
            sections.append((_name(label), []))
            at = label.end()
        sections[-1][1].append(rest[at:])
    return _read(sections) if sections else None


def _name(tag: re.Match[str]) -> str:
    return f"LABEL {tag['number']}" if "LABEL" in tag[0].upper() else "DESCRIPTION"


def _read(sections: Sequence[tuple[str, Sequence[str]]]) -> Conclusion:
    description = ""
    labels: dict[object, str] = {}
    for place, (name, lines) in enumerate(sections):
        body = "\n".join(lines).strip()
        if name == "DESCRIPTION":
            if description:  # it concludes once more
                labels = {}
            description = body.strip("*_ \n")
        # A label is one line; what follows it is an afterthought.
        elif label := body.split("\n", 1)[0].strip("*_\"'` \t."):
            labels[name if name != "LABEL " else place] = label
    return Conclusion(description, tuple(labels.values()))
