"""A table of findings: what is good, what is worth knowing, what must be mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich import box
from rich.table import Table
from rich.text import Text

Mark = Literal["good", "note", "bad"]
_MARKS: Final = {"good": Text("✓", "green"), "note": Text("·", "dim"), "bad": Text("✗", "red")}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        topic: What is checked.
        mark: "good", "note" (worth knowing), or "bad": the command's purpose cannot be served.
        detail: What was found, and what to do.
    """

    topic: str
    mark: Mark
    detail: str


def table_of(rows: Sequence[Row]) -> Table:
    """Return the table; a topic is named at its first row only."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_column(overflow="fold")
    topic = ""
    for row in rows:
        table.add_row(Text(row.topic if row.topic != topic else "", "bold"), _MARKS[row.mark], Text(row.detail))
        topic = row.topic
    return table
