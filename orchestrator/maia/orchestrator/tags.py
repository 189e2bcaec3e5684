"""Reads a conclusion out of prose: tags, and what follows each.

A tag begins a line, after nothing but Markdown's marks, so that a sentence about the tags concludes nothing; one in
backticks is quoted, and so is talk as well. Once there is a conclusion, every tag but the first of its form may, with
its colon, also follow in the same line. Any case is accepted. Of two conclusions the last counts. A text without a
letter or digit, such as "…", and a placeholder such as "<label>" say nothing: they are the form, repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, assert_never

from maia.orchestrator.answers import Answer, Bias, Form, Labels, Verdict, Word, Words

_MARKS: Final = " \t\u00a0*_#>-+•"
_NUMBERING: Final = re.compile(r"\d{1,2}[.)][ \t*_]{1,8}")
# Bounded repetition keeps the search linear: a model that got stuck writes one character 200,000 times.
_SPACE: Final = r"[ \t\u00a0]{0,4}"
_BODY_RULE: Final = re.compile(r"[ \t]*[-*_]{3,}[ \t]*")  # a horizontal rule
_PLACEHOLDER: Final = re.compile(r"<[^<>\n]{0,200}>")
_WORD: Final = re.compile(r"[*_\"'`\s]*(SELECTIVE|SPURIOUS)\b[*_\"'`]*", re.IGNORECASE)
_OTHER: Final = re.compile(r"\s*(?:/|\||,|or\b|and\b)[\s*_\"'`]*(?:SELECTIVE|SPURIOUS)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Grammar:
    """The tags of a form.

    Attributes:
        main: The tag that begins a conclusion.
        tag: Finds any tag where a line begins.
        within: Finds the tags that may stand within a line; never matches where there are none.
    """

    main: str
    tag: re.Pattern[str]
    within: re.Pattern[str]

    @classmethod
    def of(cls, main: str, *, numbered: str = "", second: str = "") -> _Grammar:
        # An empty name would match an empty tag.
        others = [f"(?P<second>{second})"] if second else []
        others += [rf"(?P<item>{numbered}){_SPACE}(?P<number>\d{{0,3}})"] if numbered else []
        end = rf"{_SPACE}\][*_]{{0,3}}{_SPACE}"
        tag = rf"\[{_SPACE}(?:{'|'.join([f'(?P<main>{main})', *others])}){end}[:：]?[*_]{{0,3}}"
        within = rf"[*_]{{0,3}}\[{_SPACE}(?:{'|'.join(others)}){end}[:：][*_]{{0,3}}" if others else r"(?!)"
        return cls(main, re.compile(tag, re.IGNORECASE), re.compile(within, re.IGNORECASE))


_GRAMMARS: Final[Mapping[Form, _Grammar]] = MappingProxyType(
    {
        "labels": _Grammar.of("DESCRIPTION", numbered="LABEL"),
        "bias": _Grammar.of("BIAS", numbered="CONTEXT"),
        "verdict": _Grammar.of("VERDICT", second="REASONING"),
        "text": _Grammar.of("ANSWER"),
    }
)

_Section = tuple[str, list[str]]
"""A tag's key and the pieces that follow it: "main", "second", an item's number, or its place where it has none."""


def read_answer(text: str, form: Form) -> Answer | None:
    """Return the conclusion that a text draws, complete or not; None without any tag."""
    grammar = _GRAMMARS[form]
    sections: list[_Section] = []
    for line in text.split("\n"):
        rest = line
        if tag := _tag_of(line, grammar):
            sections.append((_key(tag, len(sections)), []))
            rest = tag.string[tag.end() :]
        if not sections:
            continue
        at = 0
        for other in grammar.within.finditer(rest):
            sections[-1][1].append(rest[at : other.start()])
            sections.append((_key(other, len(sections)), []))
            at = other.end()
        sections[-1][1].append(rest[at:])
    return _read(sections, form) if sections else None


def begins_answer(line: str, form: Form) -> bool:
    """Tell whether a line begins with a tag of the form."""
    return _tag_of(line, _GRAMMARS[form]) is not None


def _tag_of(line: str, grammar: _Grammar) -> re.Match[str] | None:
    """Return the tag that begins a line."""
    head = line.lstrip(_MARKS)
    numbering = _NUMBERING.match(head)
    return grammar.tag.match(head[numbering.end() :].lstrip(_MARKS) if numbering else head)


def _key(tag: re.Match[str], place: int) -> str:
    found = tag.groupdict()
    if found.get("main"):
        return "main"
    if found.get("second"):
        return "second"
    return found["number"] or f"at {place}"


def _read(sections: Sequence[_Section], form: Form) -> Answer:
    main, others = _last(sections)
    match form:
        case "labels":
            return Labels(_prose(main), _phrases(others))
        case "bias":
            return Bias(_prose(main), _phrases(others))
        case "verdict":
            word, rest = _word(main)
            return Verdict(word, _prose(others.get("second", "")) or rest)
        case "text":
            return Words(_prose(main))
        case _:
            assert_never(form)


def _last(sections: Sequence[_Section]) -> tuple[str, dict[str, str]]:
    """Return the text of the main tag and those of the others, of the last conclusion.

    Where the main tag came first, what follows it belongs to it; where others came first, what precedes it does.
    """
    main = ""
    others: dict[str, str] = {}
    since: dict[str, str] = {}
    main_first = sections[0][0] == "main"
    for key, lines in sections:
        body = "\n".join(lines).strip()
        if key != "main":
            others[key] = since[key] = body
            continue
        if main:  # it concludes once more
            others = {} if main_first else dict(since)
        main, since = body, {}
    return main, others


def _phrases(others: Mapping[str, str]) -> tuple[str, ...]:
    """Return labels: a label is one line, and what follows it is an afterthought."""
    lines = (re.sub("[*`]", "", body.split("\n", 1)[0]).strip("_\"' \t.") for body in others.values())
    return tuple(line for line in lines if _says_something(line))


def _prose(body: str) -> str:
    lines = body.split("\n")
    while lines and (not lines[-1].strip() or _BODY_RULE.fullmatch(lines[-1])):
        lines.pop()
    text = "\n".join(lines).strip("*_ \n")
    return text if _says_something(text) else ""


def _says_something(text: str) -> bool:
    return not _PLACEHOLDER.fullmatch(text) and any(map(str.isalnum, text))


def _word(body: str) -> tuple[Word, str]:
    """Return the verdict and what follows it; the text must begin with one of the words, and not offer both."""
    match = _WORD.match(body)
    if not match or _OTHER.match(body, match.end()):
        return "", ""
    word: Word = "SELECTIVE" if match[1].upper() == "SELECTIVE" else "SPURIOUS"
    return word, _prose(body[match.end() :].lstrip(" \t.,;:：–—-\n"))
