"""A small, safe part of Markdown for what an agent writes.

Understood: paragraphs (their line breaks stand), headings, bullet and numbered lists (nesting is flattened), fences,
**bold** and `code`. Everything else, links and HTML included, is shown as it was typed. All text is escaped before any
tag of ours is added, and no tag of ours has an attribute that comes from the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Final, Literal, NamedTuple

from markupsafe import Markup, escape

from maia.orchestrator.report.visible import shorten, visible

LIMIT: Final = 100_000
"""Characters of one reply's prose that are shown."""

# As CommonMark: what follows a fence of backticks holds no backtick, else "```x```" in one line would open.
_FENCE: Final = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_HEADING: Final = re.compile(r" {0,3}#{1,6} +(?P<text>.+)")
_ITEM: Final = re.compile(r"\s{0,12}(?P<mark>[-*+•]|\d{1,3}[.)])[ \t]+(?P<text>.*)")
# Bounded repeats: a line of 100,000 asterisks must not take quadratic time.
_INLINE: Final = re.compile(r"`(?P<code>[^`\n]{1,400})`|\*\*(?P<bold>[^*\n]{1,400})\*\*")

_Kind = Literal["blank", "fence", "heading", "ul", "ol", "text"]


class _Line(NamedTuple):
    kind: _Kind
    text: str


def prose(text: str) -> Markup:
    """Return the text as HTML; never fails, whatever the text."""
    out: list[Markup] = []
    text = shorten(visible(text), LIMIT, rest="in journal.jsonl")
    for kind, group in groupby(_classified(text), key=lambda line: line.kind):
        lines = [line.text for line in group]
        match kind:
            case "blank":
                continue
            case "fence":
                out.append(Markup('<pre class="quoted">{}</pre>').format("\n".join(lines)))
            case "heading":
                out += [Markup('<p class="heading">{}</p>').format(inline(line)) for line in lines]
            case "ul" | "ol":
                items = Markup("").join(Markup("<li>{}</li>").format(inline(line)) for line in lines)
                out.append((Markup("<ul>{}</ul>") if kind == "ul" else Markup("<ol>{}</ol>")).format(items))
            case "text":
                out.append(Markup("<p>{}</p>").format(Markup("<br>").join(inline(line) for line in lines)))
    return Markup("\n").join(out)


def inline(line: str) -> Markup:
    """Return one line with **bold** and `code` as HTML, everything else escaped."""
    out: list[Markup] = []
    at = 0
    for match in _INLINE.finditer(line):
        out.append(escape(line[at : match.start()]))
        tag = Markup("<code>{}</code>") if match["code"] is not None else Markup("<strong>{}</strong>")
        out.append(tag.format(match["code"] if match["code"] is not None else match["bold"]))
        at = match.end()
    out.append(escape(line[at:]))
    return Markup("").join(out)


def _classified(text: str) -> Iterator[_Line]:
    """Name the kind of each line; a line that is indented beneath a list item belongs to it."""
    fence = ""
    previous: _Kind = "blank"
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if fence:
            if match and match[1].startswith(fence):
                fence, previous = "", "blank"
                yield _Line("blank", "")
            else:
                yield _Line("fence", line)
            continue
        if match:
            fence = match[1]
            yield _Line("blank", "")
            continue
        previous = _kind(line, previous)
        yield _Line(previous, _content(line, previous))


def _kind(line: str, previous: _Kind) -> _Kind:
    if not line.strip():
        return "blank"
    if _HEADING.match(line):
        return "heading"
    item = _ITEM.match(line)
    if item:
        return "ol" if item["mark"][0].isdigit() else "ul"
    if previous in ("ul", "ol") and line.startswith("  "):
        return previous
    return "text"


def _content(line: str, kind: _Kind) -> str:
    match = _HEADING.match(line) if kind == "heading" else _ITEM.match(line)
    return match["text"] if match and kind in ("heading", "ul", "ol") else line.strip()
