"""Finds an agent's hypotheses in its replies.

The rule, outside of code fences and whatever emphasis, bullet or number comes before:

- A line that begins with "Hypothesis" (or "Hypotheses", "[HYPOTHESIS]", "[HYPOTHESIS LIST]"; "Revised", "Updated",
  "New", "Current", "Working" or "Final" before it, a number or letter after it) and then a colon, a dash or the closing
  bracket is a statement: the rest of the line, and the indented lines right below it.
- Such a line with nothing after the mark is a heading: each item of the list below it is a statement.
"""

from __future__ import annotations

import re
from typing import Final

from maia.orchestrator.report.visible import one_line, visible

LIMIT: Final = 400
"""Characters of a statement."""

_MARK: Final = re.compile(
    r"\[?(?:(?:revised|updated|new|current|working|final|remaining) )?hypothes[ie]s(?: list)?"
    r"[ _]?#?(?:\d{1,2}|[a-z]\b)?(?: \([^()]{0,40}\))?"
    r"(?:\][*_ ]{0,4}:?|[*_ ]{0,4}[:–—]| - |[*_ ]{0,4}$)[*_ ]{0,4}",
    re.IGNORECASE,
)
_ITEM: Final = re.compile(r"\s{0,12}(?:[-*+•]|\d{1,3}[.)])[ \t]+(?=\S)")
_FENCE: Final = re.compile(r" {0,3}(?:`{3,}(?=[^`]*$)|~{3,})")
_BEFORE: Final = re.compile(r"[ \t>*_#•+-]{0,20}(?:\d{1,3}[.)][ \t*_]{0,8})?")


def statements(reply: str) -> tuple[str, ...]:
    """Return the hypotheses that a reply states, in order, each on one line and without its mark."""
    found: list[list[str]] = []
    heading = fenced = False
    current: list[str] | None = None
    for line in visible(reply).split("\n"):
        if _FENCE.match(line):
            fenced, heading, current = not fenced, False, None
            continue
        if fenced:
            continue
        bare = line[_end(_BEFORE, line) :]
        mark = _MARK.match(bare[:200])
        item = _ITEM.match(line)
        if mark:
            current = [bare[mark.end() :]] if bare[mark.end() :].strip() else None
            heading = current is None
        elif heading and item:
            current = [line[item.end() :]]
        elif current is not None and line.startswith("  ") and line.strip() and not item:
            current.append(line)
            continue
        else:
            current = None
            heading = heading and not line.strip()
            continue
        if current:
            found.append(current)
    texts = (one_line(" ".join(lines), LIMIT).strip("*_ ") for lines in found)
    return tuple(text for text in texts if text)


def _end(pattern: re.Pattern[str], line: str) -> int:
    match = pattern.match(line)
    return match.end() if match else 0
