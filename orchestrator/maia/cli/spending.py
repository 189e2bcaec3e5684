"""What the units of a command have cost in tokens and money, and what is to be expected of the rest."""

from __future__ import annotations

from dataclasses import dataclass, field

from maia.orchestrator.events import BackboneReply, DescriberReply, UnitName


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens of all kinds, and money where all of it is known."""

    tokens: int = 0
    cost: float | None = 0.0

    def __add__(self, other: Spent) -> Spent:
        known = self.cost is not None and other.cost is not None
        return Spent(self.tokens + other.tokens, (self.cost or 0.0) + (other.cost or 0.0) if known else None)

    def times(self, factor: float) -> Spent:
        """Return so many times this."""
        return Spent(round(self.tokens * factor), None if self.cost is None else self.cost * factor)

    def beyond(self, other: Spent) -> Spent:
        """Return by how much this is more than another, never less than nothing."""
        known = self.cost is not None and other.cost is not None
        cost = max(0.0, (self.cost or 0.0) - (other.cost or 0.0)) if known else None
        return Spent(max(0, self.tokens - other.tokens), cost)


@dataclass(slots=True)
class Spending:
    """Adds up what was spent.

    Attributes:
        total: Spent by this command so far.
    """

    total: Spent = field(default_factory=Spent)
    _running: dict[UnitName, Spent] = field(default_factory=dict)
    _ended: Spent = field(default_factory=Spent)
    _ends: int = 0

    def note(self, unit: UnitName, reply: BackboneReply | DescriberReply) -> None:
        """Take in a reply."""
        tokens = sum(reply.usage.values())
        spent = Spent(tokens, reply.usd if tokens else 0.0)
        self.total += spent
        self._running[unit] = self._running.get(unit, Spent()) + spent

    def end(self, unit: UnitName, *, finished: bool) -> None:
        """Take in the end of a unit; only those that came to their end say what one costs."""
        spent = self._running.pop(unit, Spent())
        if finished:
            self._ended += spent
            self._ends += 1

    def to_come(self, waiting: int) -> Spent | None:
        """Return what running units and so many waiting ones will likely cost; None before one has finished."""
        if not self._ends:
            return None
        mean = self._ended.times(1 / self._ends)
        expected = mean.times(waiting)
        for spent in self._running.values():
            expected += mean.beyond(spent)
        return expected
