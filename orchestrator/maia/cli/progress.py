"""What a command shows while it works, on standard error: moving lines in a terminal, plain lines elsewhere.

Everything that came from a model or a tool goes through `visible` first: a label must not move the cursor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from maia.cli.words import clock


class Progress:
    """The view of a running command. A context manager; `console` is for standard error.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._spinner = Spinner("dots", style="cyan")
        self._stage = ""
        self._quarter = ("", 0)
        self._since = time.monotonic()
        self._body: Callable[[], RenderableType] | None = None
        self._live = Live(
            console=console, get_renderable=self._shown, refresh_per_second=8, transient=True, redirect_stdout=False
        )

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop showing; what comes after stands by itself."""
        self._live.stop()

    def stage(self, doing: str) -> None:
        """Say what the command is doing now."""
        self._stage, self._since, self._body = doing, time.monotonic(), None
        if not self.console.is_terminal:
            self.print(Text(f"{doing} …"))

    def step(self, doing: str, done: int, total: int, rate: str = "") -> None:
        """Say how far the present stage is, and how fast it goes; without a terminal only at each quarter."""
        if self.console.is_terminal:
            self._stage = f"{doing}  {done} of {total}{rate}" if total else f"{doing}  {done}"
        elif (quarter := (doing, 4 * done // max(1, total))) != self._quarter and quarter[1]:
            self._quarter = quarter
            self.print(Text(f"{doing}: {done} of {total}{rate}"))

    def done(self, what: str) -> None:
        """Say that a stage is over and how long it took."""
        line = Text.assemble(("✓ ", "green"), what, (f"  {clock(time.monotonic() - self._since)}", "dim"))
        self._stage = ""
        self.print(line)

    def note(self, text: str) -> None:
        """Say something that stays."""
        self.print(Text.assemble(("· ", "dim"), text))

    def show(self, body: Callable[[], RenderableType]) -> None:
        """Show in a terminal, until the next stage, what a function returns at every look."""
        self._stage, self._body = "", body

    def print(self, line: Text) -> None:
        """Print a line that stays; what it holds must be `visible`."""
        # Outside a terminal nobody folds lines, and a log is searched by line.
        self.console.print(line, soft_wrap=not self.console.is_terminal)

    def _shown(self) -> RenderableType:
        if self._body is not None:
            return self._body()
        grid = Table.grid(padding=(0, 1))
        grid.add_column()
        grid.add_column(no_wrap=True, overflow="ellipsis")  # a line that folds moves the screen
        grid.add_column(no_wrap=True)
        if self._stage:
            grid.add_row(self._spinner, Text(self._stage), Text(clock(time.monotonic() - self._since), style="dim"))
        return grid
