"""The view of units at work: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from maia.cli.finished import ENDED
from maia.cli.progress import Progress
from maia.cli.results import why
from maia.cli.spending import Spending, Spent
from maia.cli.standing import Standing
from maia.cli.words import clock, counted, dollars, short
from maia.orchestrator.events import (
    BackboneReply,
    DescriberReply,
    Event,
    PicturePart,
    RunStarted,
    TextPart,
    UnitName,
    UserMessage,
)
from maia.orchestrator.report import UnitResult
from maia.orchestrator.report.visible import one_line, visible

_LABEL_CHARS: Final = 60
_WIDEST: Final = 110
"""Columns of the table; on a wider screen the eye would lose its row."""

_OTHER_LINES: Final = 6
"""Of the screen, which the rows leave for what is printed above them, their heading and the sums."""

_FEW: Final = 16
"""Units up to which a log tells of every round; of more it would be nothing but rounds."""


@dataclass(slots=True)
class BatchView:
    """Shows units at work; told by whoever runs them.

    Attributes:
        progress: Where to show it.
        total: Units of this command.
        max_rounds: How many rounds each may take.
        already: Units that an earlier run had finished.
        dialogue: Also print what passes between the agents and their experiments.
        spending: Adds up what replies cost.
    """

    progress: Progress
    total: int
    max_rounds: int
    already: int = 0
    dialogue: bool = False
    spending: Spending = field(default_factory=Spending)
    _running: dict[UnitName, Standing] = field(default_factory=dict)
    _begun: int = 0
    _done: int = 0
    _paused: int = 0
    _failed: int = 0
    _left: int = 0
    _pausing: bool = False
    _since: float = field(default_factory=time.monotonic)
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))

    @property
    def _live(self) -> bool:
        return self.progress.console.is_terminal

    @property
    def _waiting(self) -> int:
        return self.total - self._begun

    @property
    def running(self) -> list[UnitName]:
        """Units at work."""
        return list(self._running)

    def standing(self, unit: UnitName) -> Standing:
        """Where a unit at work stands."""
        return self._running[unit]

    def start(self) -> None:
        """Begin to show."""
        self._since = time.monotonic()
        self.progress.show(self.table)

    def unit_started(self, unit: UnitName) -> None:
        """A unit begins."""
        self._begun += 1
        self._running[unit] = standing = Standing(unit, f"{self._begun}/{self.total}", self.max_rounds)
        if not self._live:
            self.progress.print(Text(f"{standing.place} {visible(str(unit))}"))

    def unit_event(self, unit: UnitName, event: Event) -> None:
        """Something happened to a unit."""
        standing = self._running[unit]
        if isinstance(event, BackboneReply | DescriberReply):
            self.spending.note(unit, event)
        if standing.note(event) and not self._live and self.total <= _FEW:
            self.progress.print(Text(f"{standing.place} {standing.round_text}, {clock(standing.seconds)}"))
        if self.dialogue:
            self._show_dialogue(standing, event)

    def unit_ended(self, result: UnitResult) -> None:
        """Leave one line about a unit that has ended."""
        ended = result.status in ENDED
        self.spending.end(result.unit, finished=ended)
        self._done += ended
        self._paused += result.status == "paused"
        self._failed += not ended and result.status != "paused"
        place = self._place(result.unit)
        facts = f"{counted(result.rounds, 'round')} · {counted(result.tool_calls, 'call')} · {clock(result.seconds)}"
        if result.status == "concluded":
            label = one_line(visible(result.headline), _LABEL_CHARS)
            line = Text.assemble(("✓ ", "green"), f"{place} {result.unit}  ", (label, "bold"), (f"  {facts}", "dim"))
        else:
            mark, style = ("‖", "yellow") if result.status == "paused" else ("✗", "red")
            line = Text.assemble((f"{mark} ", style), f"{place} {result.unit}  ", (why(result), style))
        self.progress.print(line)
        self._tell_sums()

    def unit_left(self, unit: UnitName, reason: str) -> None:
        """Leave one line about a unit that is another run's."""
        self._left += 1
        line = f"{self._place(unit)} {unit} is left alone: {reason}"
        self.progress.print(Text.assemble(("· ", "dim"), visible(line)))

    def pausing(self) -> None:
        """Say that running units finish their round and no other begins."""
        self._pausing = True
        running = f"{counted(len(self._running), 'running unit')}"
        self.progress.note(f"pausing: {running} to finish the round; Ctrl-C again stops at once")

    def table(self) -> RenderableType:
        """Return the table of the units at work and the sums below it, no higher than the screen."""
        console = self.progress.console
        standings = list(self._running.values())
        room = max(1, console.size.height - _OTHER_LINES)
        if len(standings) > room:
            standings = standings[: room - 1] if room > 1 else standings[:1]
        # No row may fold: what is drawn again must have the height that it had.
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.width = min(console.size.width, _WIDEST)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=5)
        grid.add_column(no_wrap=True, justify="right", width=max(5, 2 * len(str(self.max_rounds)) + 1))
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=4)
        grid.add_column(no_wrap=True, justify="right", width=8)
        if self.total > 1:
            grid.add_row("", *(Text(title, style="dim") for title in ("unit", "round", "doing", "time")))
        for standing in standings:
            grid.add_row(
                self._spinner,
                _Tail(visible(str(standing.unit))),
                Text(standing.rounds, style="cyan"),
                Text(visible(standing.doing)),
                Text(clock(standing.seconds), style="dim"),
            )
        hidden = len(self._running) - len(standings)
        more = (
            [Text(f"  … and {hidden:,} more running", style="dim", no_wrap=True, overflow="ellipsis")] if hidden else []
        )
        return Group(grid, *more, *self._sums())

    def _sums(self) -> list[Text]:
        """The lines below the rows, each cut to the screen's width."""
        lines = []
        if self.total > 1:
            counts = (
                (self._waiting, "waiting"),
                (len(self._running), "running"),
                (self._done, "done"),
                (self._paused, "paused"),
                (self._failed, "failed"),
                (self._left, "left alone"),
                (self.already, "finished before"),
            )
            parts = [f"{count:,} {name}" for count, name in counts if count or name in ("waiting", "running", "done")]
            lines.append(" · ".join([*parts, clock(time.monotonic() - self._since)]))
        if self.spending.total.tokens:
            lines.append(" · ".join(self._costs()))
        if self._pausing:
            lines.append("pausing after this round; Ctrl-C again stops at once")
        return [_whole(line) for line in lines]

    def _costs(self) -> list[str]:
        total = self.spending.total
        to_come = None if self._pausing else self.spending.to_come(self._waiting)
        tokens, money = f"{short(total.tokens)} tokens", [] if total.cost is None else [dollars(total.cost)]
        if to_come is not None and to_come != Spent():
            tokens += f", about {short(to_come.tokens)} to come"
            if money and to_come.cost is not None:
                money = [f"{money[0]}, about {dollars(to_come.cost)} to come"]
        return [tokens, *money]

    def _tell_sums(self) -> None:
        """Say in a log how far a long list is, ten times."""
        ended = self._done + self._paused + self._failed + self._left
        if not self._live and self.total > _FEW and 10 * ended // self.total > 10 * (ended - 1) // self.total:
            for line in self._sums():
                self.progress.print(Text(line.plain))

    def _place(self, unit: UnitName) -> str:
        standing = self._running.pop(unit, None)
        return standing.place if standing else f"{self._begun}/{self.total}"

    def _show_dialogue(self, standing: Standing, event: Event) -> None:
        match event:
            case RunStarted():
                self._say(standing, "system", event.system_prompt, "dim")
            case UserMessage():
                self._say(standing, f"to the agent ({event.why})", "\n".join(map(_shown, event.parts)), "")
            case BackboneReply():
                self._say(standing, f"{event.model or 'the agent'}, round {event.round}", event.text, "cyan")
            case _:
                pass

    def _say(self, standing: Standing, who: str, text: str, style: str) -> None:
        whose = f"{standing.unit}: " if self.total > 1 else ""
        console = self.progress.console
        console.rule(Text(visible(f"{whose}{who}")), align="left", style="dim")
        console.print(Text(visible(text), style=style), soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Tail:
    """A line that is cut at its front: units of one model differ at the end of their names."""

    text: str

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, max(1, cell_len(self.text)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        text = self.text
        if cell_len(text) > options.max_width:
            while text and cell_len(text) >= options.max_width:
                text = text[1:]
            text = f"…{text}"
        yield Text(text, no_wrap=True, overflow="ellipsis")


def _whole(line: str) -> Text:
    """A line that is cut where the screen ends, and never folds."""
    return Text(line, no_wrap=True, overflow="ellipsis", style="dim")


def _shown(part: TextPart | PicturePart) -> str:
    if isinstance(part, TextPart):
        return part.text
    return f"[picture {part.image_id or part.sha256[:12]}, {part.width} × {part.height}]"
