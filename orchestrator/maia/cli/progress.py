"""What a command shows while it works, on standard error: one moving line in a terminal, plain lines elsewhere.

Everything that came from a model or a tool goes through `visible` first: a label must not move the cursor.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from maia.cli.results import why
from maia.cli.words import clock, counted
from maia.orchestrator.events import (
    BackboneReply,
    BlockEnded,
    BlockStarted,
    Event,
    PicturePart,
    RunStarted,
    TextPart,
    ToolCalled,
    ToolReturned,
    UnitName,
    UserMessage,
)
from maia.orchestrator.report import UnitResult
from maia.orchestrator.report.visible import one_line, visible

_LABEL_CHARS: Final = 60


@dataclass(slots=True)
class Standing:
    """Where the unit at work stands, as its events tell.

    Attributes:
        unit: Which one.
        place: "2/4".
        max_rounds: How many rounds it may take.
        started: On the monotonic clock.
        round: The one at work, 0 before the first reply.
        doing: What is being waited for.
    """

    unit: UnitName
    place: str
    max_rounds: int
    started: float = field(default_factory=time.monotonic)
    agent: str = "the agent"
    round: int = 0
    doing: str = "opening a session"

    def note(self, event: Event) -> bool:
        """Take in an event; tell whether a new round began."""
        before = self.round
        match event:
            case RunStarted():
                self.agent = event.agent
            case UserMessage():
                self.doing = f"waiting for {self.agent}"
            case BackboneReply():
                self.round = event.round
                self.doing = "reading the reply"
            case BlockStarted() | ToolReturned():
                self.doing = "running code"
            case ToolCalled():
                self.doing = event.tool
            case BlockEnded():
                self.doing = "collecting results"
            case _:
                pass
        return self.round != before

    @property
    def round_text(self) -> str:
        """Return "round 3 of 25", or nothing before the first."""
        return f"round {min(self.round, self.max_rounds)} of {self.max_rounds}" if self.round else ""

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started


class Progress:
    """The view of a running command. A context manager; `console` is for standard error.

    Args:
        console: Where to show it.
        dialogue: Also print what passes between the agent and its experiments.
    """

    def __init__(self, console: Console, *, dialogue: bool = False) -> None:
        self._console = console
        self._dialogue = dialogue
        self._spinner = Spinner("dots", style="cyan")
        self._stage = ""
        self._quarter = ("", 0)
        self._since = time.monotonic()
        self._unit: Standing | None = None
        self._live = Live(
            console=console, get_renderable=self._line, refresh_per_second=8, transient=True, redirect_stdout=False
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
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
        self._stage, self._since, self._unit = doing, time.monotonic(), None
        if not self._console.is_terminal:
            self._print(Text(f"{doing} …"))

    def step(self, doing: str, done: int, total: int, rate: str = "") -> None:
        """Say how far the present stage is, and how fast it goes; without a terminal only at each quarter."""
        if self._console.is_terminal:
            self._stage = f"{doing}  {done} of {total}{rate}" if total else f"{doing}  {done}"
        elif (quarter := (doing, 4 * done // max(1, total))) != self._quarter and quarter[1]:
            self._quarter = quarter
            self._print(Text(f"{doing}: {done} of {total}{rate}"))

    def done(self, what: str) -> None:
        """Say that a stage is over and how long it took."""
        line = Text.assemble(("✓ ", "green"), what, (f"  {clock(time.monotonic() - self._since)}", "dim"))
        self._stage = ""
        self._print(line)

    def note(self, text: str) -> None:
        """Say something that stays."""
        self._print(Text.assemble(("· ", "dim"), text))

    def unit_started(self, unit: UnitName, place: str, max_rounds: int) -> None:
        """Begin to show a unit."""
        self._unit = Standing(unit, place, max_rounds)
        if not self._console.is_terminal:
            self._print(Text(f"{place} {visible(str(unit))}"))

    def on_event(self, event: Event) -> None:
        """Show what happened to the unit at work."""
        if self._unit is None:
            return
        if self._unit.note(event) and not self._console.is_terminal:
            self._print(Text(f"{self._unit.place} {self._unit.round_text}, {clock(self._unit.seconds)}"))
        if self._dialogue:
            self._show_dialogue(event)

    def unit_ended(self, result: UnitResult) -> None:
        """Leave one line about a unit that is done."""
        place = f"{self._unit.place} " if self._unit else ""
        self._unit = None
        facts = f"{counted(result.rounds, 'round')} · {counted(result.tool_calls, 'call')} · {clock(result.seconds)}"
        if result.status == "concluded":
            label = one_line(visible(result.headline), _LABEL_CHARS)
            line = Text.assemble(("✓ ", "green"), f"{place}{result.unit}  ", (label, "bold"), (f"  {facts}", "dim"))
        else:
            line = Text.assemble(("✗ ", "red"), f"{place}{result.unit}  ", (why(result), "red"))
        self._print(line)

    def _line(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        grid.add_column()
        grid.add_column(no_wrap=True, overflow="ellipsis")  # a line that folds moves the screen
        grid.add_column(no_wrap=True)
        if self._unit is not None:
            unit = self._unit
            what = Text.assemble(f"{unit.place} {unit.unit}  ", (unit.round_text, "cyan"), f"  {visible(unit.doing)}")
            grid.add_row(self._spinner, what, Text(clock(unit.seconds), style="dim"))
        elif self._stage:
            grid.add_row(self._spinner, Text(self._stage), Text(clock(time.monotonic() - self._since), style="dim"))
        return grid

    def _print(self, line: Text) -> None:
        # Outside a terminal nobody folds lines, and a log is searched by line.
        self._console.print(line, soft_wrap=not self._console.is_terminal)

    def _show_dialogue(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._say("system", event.system_prompt, "dim")
            case UserMessage():
                self._say(f"to the agent ({event.why})", "\n".join(map(_shown, event.parts)), "")
            case BackboneReply():
                self._say(f"{event.model or 'the agent'}, round {event.round}", event.text, "cyan")
            case _:
                pass

    def _say(self, who: str, text: str, style: str) -> None:
        self._console.rule(Text(visible(who)), align="left", style="dim")
        self._console.print(Text(visible(text), style=style), soft_wrap=True)


def _shown(part: TextPart | PicturePart) -> str:
    if isinstance(part, TextPart):
        return part.text
    return f"[picture {part.image_id or part.sha256[:12]}, {part.width} × {part.height}]"
