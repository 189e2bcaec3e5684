"""What a unit, and a batch of units, may spend, and what they have spent.

Spending is read from the events of journals alone, so a run that goes on in another process has spent what it had. A
ledger listens to its unit's journal. Nothing is cut off: at 80 % of any limit the agent is told, at 100 % it is asked
to conclude, and what it was doing until then is paid.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from string import Template
from typing import Final, Literal

from maia.orchestrator.events import BackboneReply, DescriberReply, Event, PicturePart, ToolCalled, UserMessage
from maia.wire.errors import InvalidRequestError

NEAR: Final = 0.8
"""The share of a limit at which the agent is told."""

_EXAMPLE: Final = "tokens=500000,usd=2,calls=200,pictures=300,minutes=30"
_TASKS: Final = "maia.orchestrator.tasks"


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits; None where there is none.

    Attributes:
        tokens: Of all requests to vendors, whatever they cost: input, output, and what a cache read and wrote.
        usd: US dollars.
        calls: Tool calls.
        pictures: Shown to the agent or to the backbone that describes for it, each time anew.
        minutes: Of work on a unit, pauses between processes not counted; of a batch, since this command began.
    """

    tokens: int | None = None
    usd: float | None = None
    calls: int | None = None
    pictures: int | None = None
    minutes: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `tokens=500000,usd=2`; an empty text is no limit.

        Raises:
            InvalidRequestError: BUDGET_INVALID: an unknown name, one that is there twice, or no positive number.
        """
        limits: dict[str, float] = {}
        for part in text.split(",") if text.strip() else ():
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if name not in _NAMES:
                raise _invalid(f"there is no budget {name!r}; valid: {', '.join(_NAMES)}, {_written}")
            if name in limits:
                raise _invalid(f"{name} is there twice; give one limit of each, {_written}")
            limits[name] = _number(name, value if equals else "")
        return cls(
            tokens=_whole(limits.get("tokens")),
            usd=limits.get("usd"),
            calls=_whole(limits.get("calls")),
            pictures=_whole(limits.get("pictures")),
            minutes=limits.get("minutes"),
        )

    def times(self, factor: int) -> Budget:
        """Return the same limits, each so many times as high."""
        limits = {name: getattr(self, name) for name in _NAMES}
        return Budget(**{name: limit and limit * factor for name, limit in limits.items()})

    def __str__(self) -> str:
        """As `parse` reads it."""
        limits = [(name, getattr(self, name)) for name in _NAMES]
        return ",".join(f"{name}={_plain(limit)}" for name, limit in limits if limit is not None)


_NAMES: Final = tuple(each.name for each in fields(Budget))
_written: Final = f"for example {_EXAMPLE}"


@dataclass(slots=True)
class Spending:
    """What was spent.

    Attributes:
        usage: Tokens of all replies by kind: input, output, cache_read, cache_write.
        usd: What they cost; None as soon as one of them has no known price.
        calls: Tool calls.
        pictures: Shown to backbones.
        seconds: Of work on the unit.
    """

    usage: Counter[str] = field(default_factory=Counter)
    usd: float | None = 0.0
    calls: int = 0
    pictures: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, events: Iterable[Event]) -> Spending:
        """Return what the run of a journal's events has spent."""
        spending = cls()
        for event in events:
            spending.note(event)
        return spending

    @property
    def tokens(self) -> int:
        """Of all kinds."""
        return self.usage.total()

    def note(self, event: Event) -> None:
        """Take what an event says was spent."""
        self.seconds = max(self.seconds, event.at)
        match event:
            case BackboneReply():
                self._pay(event.usage, event.usd)
            case DescriberReply():
                self._pay(event.usage, event.usd)
                self.pictures += event.pictures
            case ToolCalled():
                self.calls = max(self.calls, event.call)
            case UserMessage():
                self.pictures += sum(isinstance(part, PicturePart) for part in event.parts)
            case _:
                pass

    def _pay(self, usage: Mapping[str, int], usd: float | None) -> None:
        self.usage.update(usage)
        self.usd = None if usd is None or self.usd is None else self.usd + usd


@dataclass(slots=True)
class BatchBudget:
    """What all units of a command may spend together; shared by their ledgers.

    Attributes:
        budget: The limits.
        spending: Of all units so far; its seconds are not used, since units work side by side.
        clock: Seconds, for `budget.minutes`.
    """

    budget: Budget = Budget()
    spending: Spending = field(default_factory=Spending)
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def add(self, other: Spending) -> None:
        """Count what was spent: by a unit that needs no further work, or by one event of a unit at work."""
        mine = self.spending
        mine.usage.update(other.usage)
        mine.usd = None if mine.usd is None or other.usd is None else mine.usd + other.usd
        mine.calls += other.calls
        mine.pictures += other.pictures

    @property
    def spent(self) -> str | None:
        """Which limit is reached, in words, None if none is. Then no further unit is to start."""
        return _reached(self.budget, self._measured(), 1.0, "the batch has")

    @property
    def near(self) -> str | None:
        """Which limit is nearly reached, in words, None if none is."""
        return _reached(self.budget, self._measured(), NEAR, "the batch has")

    def _measured(self) -> dict[str, float | None]:
        return _measured(self.spending, self.clock() - self._began)


Standing = Literal["", "near", "spent"]


@dataclass(slots=True)
class Ledger:
    """What one unit has spent of its budget; a listener of its journal.

    Attributes:
        budget: The unit's limits.
        batch: That of all units; what this one spends counts there too.
        spending: So far.
    """

    budget: Budget = Budget()
    batch: BatchBudget = field(default_factory=BatchBudget)
    spending: Spending = field(default_factory=Spending)

    def note(self, event: Event) -> None:
        """Take an event of the unit's journal that this process has written."""
        one = Spending.of([event])
        before = self.spending.calls
        self.spending.note(event)
        one.calls = self.spending.calls - before  # events number the calls of the unit
        self.batch.add(one)

    def recall(self, events: Iterable[Event]) -> None:
        """Take what earlier processes have spent on the unit; in the batch it is counted already."""
        for event in events:
            self.spending.note(event)

    @property
    def spent(self) -> str | None:
        """Which limit of the unit or the batch is reached, in words, None if none is."""
        return _reached(self.budget, self._measured(), 1.0, "you have") or self.batch.spent

    @property
    def near(self) -> str | None:
        """Which limit of the unit or the batch is nearly reached, in words, None if none is."""
        return _reached(self.budget, self._measured(), NEAR, "you have") or self.batch.near

    def remark(self, *, told: bool, in_rounds: bool) -> tuple[Standing, str]:
        """Return how it stands with the budget, and what the agent is to be told of it; empty where there is nothing.

        Args:
            told: Whether it was told before that its budget is nearly spent.
            in_rounds: False where it was asked to conclude already.
        """
        if not in_rounds:
            return "", ""
        if spent := self.spent:
            return "spent", _text("budget_spent").substitute(spent=spent).strip()
        if not told and (near := self.near):
            return "near", _text("budget_near").substitute(spent=near).strip()
        return "", ""

    def _measured(self) -> dict[str, float | None]:
        return _measured(self.spending, self.spending.seconds)


def _measured(spending: Spending, seconds: float) -> dict[str, float | None]:
    return {
        "tokens": spending.tokens,
        "usd": spending.usd,
        "calls": spending.calls,
        "pictures": spending.pictures,
        "minutes": seconds / 60,
    }


def _reached(budget: Budget, used: Mapping[str, float | None], share: float, who: str) -> str | None:
    for name in _NAMES:
        limit, amount = getattr(budget, name), used[name]
        if limit is not None and amount is not None and amount >= share * limit:
            return f"{who} used {_worded(name, amount)} of {_worded(name, limit)}"
    return None


def _worded(name: str, amount: float) -> str:
    match name:
        case "usd":
            return f"${amount:,.2f}"
        case "minutes":
            return f"{amount:,.1f} minutes"
        case "calls":
            return f"{amount:,.0f} tool calls"
        case _:
            return f"{amount:,.0f} {name}"


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    whole = name in ("usd", "minutes") or number.is_integer()
    if not (0 < number < float("inf") and whole):
        kind = "positive number" if name in ("usd", "minutes") else "positive whole number"
        raise _invalid(f"the budget {name} is {value!r}; it must be a {kind}, {_written}")
    return number


def _plain(limit: float) -> str:
    """Without an exponent or a point that says nothing."""
    return str(int(limit)) if float(limit).is_integer() else str(limit)


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="BUDGET_INVALID")


def _text(name: str) -> Template:
    return Template((resources.files(_TASKS) / f"{name}.md").read_text(encoding="utf-8"))
