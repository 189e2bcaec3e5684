"""Whose turn it is: that of the principal served longest ago."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeAlias, TypeVar

__all__ = ["FairOrder", "Principal"]

_T = TypeVar("_T")
_Who = TypeVar("_Who", bound=Hashable)

_REMEMBERED: Final = 10_000
"""Principals and sessions whose last turn is known though nothing of theirs waits."""

_Turn: TypeAlias = tuple[float, int]
"""When somebody was last served, in takes so far, and as which of all that arrived."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: As it has been authenticated; "" where nobody has to say.
        session: As it calls itself, or where it calls from.
    """

    name: str = ""
    session: str = ""


@dataclass(slots=True)
class _Standing:
    served: float
    arrival: int
    items: int = 0


class _Turns(Generic[_Who]):
    """When each was last served. Who was never served comes after all who wait when it arrives."""

    def __init__(self) -> None:
        self._waiting: dict[_Who, _Standing] = {}
        self._gone: OrderedDict[_Who, float] = OrderedDict()
        self._arrived = 0

    def arrive(self, who: _Who, now: int) -> None:
        if who not in self._waiting:
            self._arrived += 1
            # A newcomer comes before whom the last take has served, and behind everybody else.
            self._waiting[who] = _Standing(self._gone.pop(who, now - 0.5), self._arrived)
        self._waiting[who].items += 1

    def served(self, who: _Who, now: int) -> None:
        self._waiting[who].served = now

    def leave(self, who: _Who) -> None:
        """One of its items waits no more."""
        standing = self._waiting[who]
        standing.items -= 1
        if not standing.items:
            del self._waiting[who]
            self._gone[who] = standing.served
            if len(self._gone) > _REMEMBERED:
                self._gone.popitem(last=False)

    def turn(self, who: _Who) -> _Turn:
        """Of somebody who waits; it never comes earlier while they do."""
        standing = self._waiting[who]
        return standing.served, standing.arrival


@dataclass(slots=True)
class _Line(Generic[_Who]):
    """Those who wait somewhere, by turn. A heap whose entries are put right when they come to its top."""

    heap: list[tuple[_Turn, int, _Who]] = field(default_factory=list)
    inside: set[_Who] = field(default_factory=set)
    entries: int = 0

    def enter(self, who: _Who, turn: _Turn) -> None:
        if who not in self.inside:
            self.inside.add(who)
            self.entries += 1
            heapq.heappush(self.heap, (turn, self.entries, who))

    def first(self, waits: Callable[[_Who], bool], turn: Callable[[_Who], _Turn]) -> _Who:
        """Return whose turn it is; at least one waits."""
        while True:
            noted, number, who = self.heap[0]
            if not waits(who):
                heapq.heappop(self.heap)
                self.inside.discard(who)
            elif noted < (actual := turn(who)):
                heapq.heapreplace(self.heap, (actual, number, who))
            else:
                return who


@dataclass(slots=True)
class _Scope(Generic[_T]):
    """Items that can be taken together: those of one key, or all."""

    items: dict[Principal, OrderedDict[int, _T]] = field(default_factory=dict)
    names: _Line[str] = field(default_factory=_Line)
    sessions: dict[str, _Line[Principal]] = field(default_factory=dict)
    of_name: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def remove(self, principal: Principal, number: int) -> None:
        of_principal = self.items[principal]
        del of_principal[number]
        if not of_principal:
            del self.items[principal]
        self.count -= 1
        self.of_name[principal.name] -= 1
        if not self.of_name[principal.name]:
            del self.of_name[principal.name]
            del self.sessions[principal.name]


class FairOrder(Generic[_T]):
    """Items that wait, and in which order they are taken.

    Names take turns, and in a name's turns its sessions do, so that nobody gains by opening more of them. The order for
    A1 A2 B1 C1 C2 A3 is A1 B1 C1 A2 C2 A3. Who waits is served after at most one item of each other, whatever comes
    meanwhile. Items of one session and key are taken in the order in which they came.
    """

    def __init__(self) -> None:
        self._all: _Scope[tuple[Hashable, _T]] = _Scope()
        self._of_key: dict[Hashable, _Scope[tuple[Hashable, _T]]] = {}
        self._names: _Turns[str] = _Turns()
        self._sessions: _Turns[Principal] = _Turns()
        self._taken = 0

    def add(self, principal: Principal, key: Hashable, item: _T) -> None:
        """Let an item wait.

        Args:
            principal: Whose it is.
            key: What it can be taken together with: items of the same key. Not None.
            item: Told apart from others by identity; waits once at a time.
        """
        self._names.arrive(principal.name, self._taken)
        self._sessions.arrive(principal, self._taken)
        for scope in (self._all, self._of_key.setdefault(key, _Scope())):
            scope.items.setdefault(principal, OrderedDict())[id(item)] = (key, item)
            scope.count += 1
            scope.of_name[principal.name] = scope.of_name.get(principal.name, 0) + 1
            scope.names.enter(principal.name, self._names.turn(principal.name))
            line = scope.sessions.setdefault(principal.name, _Line())
            line.enter(principal, self._sessions.turn(principal))

    def take(self, key: Hashable = None) -> tuple[Hashable, _T] | None:
        """Take the next item, and let its principal wait longest.

        Args:
            key: Take one of this key; of any if None.

        Returns:
            Its key and the item; None if there is none.
        """
        found = self._next(key)
        if found is None:
            return None
        principal, key, item = found
        self._taken += 1
        self._names.served(principal.name, self._taken)
        self._sessions.served(principal, self._taken)
        self._remove(principal, key, item)
        return key, item

    def peek(self, key: Hashable) -> _T | None:
        """Return what `take` would, and leave it there."""
        found = self._next(key)
        return None if found is None else found[2]

    def discard(self, principal: Principal, key: Hashable, item: _T) -> bool:
        """Take an item out of its turn. Returns whether it still waited."""
        waited = key in self._of_key and id(item) in self._of_key[key].items.get(principal, ())
        if waited:
            self._remove(principal, key, item)
        return waited

    def count(self, key: Hashable) -> int:
        """Return how many items of a key wait."""
        return self._of_key[key].count if key in self._of_key else 0

    def longest(self) -> int:
        """Return how many items of the same key wait at most."""
        return max((scope.count for scope in self._of_key.values()), default=0)

    def _next(self, key: Hashable) -> tuple[Principal, Hashable, _T] | None:
        scope = self._all if key is None else self._of_key.get(key)
        if scope is None or not scope.count:
            return None
        name = scope.names.first(scope.of_name.__contains__, self._names.turn)
        principal = scope.sessions[name].first(scope.items.__contains__, self._sessions.turn)
        chosen, item = next(iter(scope.items[principal].values()))
        return principal, chosen, item

    def _remove(self, principal: Principal, key: Hashable, item: _T) -> None:
        self._all.remove(principal, id(item))
        of_key = self._of_key[key]
        of_key.remove(principal, id(item))
        if not of_key.count:
            del self._of_key[key]
        self._names.leave(principal.name)
        self._sessions.leave(principal)
