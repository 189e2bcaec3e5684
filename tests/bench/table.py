"""How figures are printed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table


def show(rows: Sequence[tuple[str, str, str]]) -> None:
    """Print figures: what, what was asked for, what was reached."""
    grid(("figure", "to reach", "reached"), rows)


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print any table."""
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(width=140).print(table)
