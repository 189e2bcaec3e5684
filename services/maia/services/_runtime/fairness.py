"""Whose turn it is: that of the principal served longest ago."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["FairOrder", "Principal"]

_T = TypeVar("_T")

_REMEMBERED: Final = 10_000
"""Principals and sessions whose last turn is known."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: As it has been authenticated; "" where nobody has to say.
        session: As it calls itself, or where it calls from.
    """

    name: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[_T]):
    number: int
    item: _T


class _Turns(Generic[_T]):
    """When each was last served, in takes so far. Who was never served comes after all who wait when it arrives."""

    def __init__(self) -> None:
        self._last: OrderedDict[_T, float] = OrderedDict()

    def arrive(self, who: _T, now: int) -> None:
        if who not in self._last:
            self._last[who] = now - 0.5  # before whom the last take has served, behind everybody else
            if len(self._last) > _REMEMBERED:
                self._last.popitem(last=False)

    def served(self, who: _T, now: int) -> None:
        self._last[who] = now
        self._last.move_to_end(who)

    def last(self, who: _T) -> float:
        return self._last.get(who, -1.0)  # forgotten, for others came and went meanwhile


class FairOrder(Generic[_T]):
    """Items that wait, and in which order they are taken.

    Names take turns, and in a name's turns its sessions do, so that nobody gains by opening more of them. The order for
    A1 A2 B1 C1 C2 A3 is A1 B1 C1 A2 C2 A3. Who waits is served after at most one item of each other, whatever comes
    meanwhile. Items of one session and key are taken in the order in which they came.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, dict[Principal, deque[_Waiting[_T]]]] = {}
        self._names: _Turns[str] = _Turns()
        self._sessions: _Turns[Principal] = _Turns()
        self._added = 0
        self._taken = 0

    def add(self, principal: Principal, key: Hashable, item: _T) -> None:
        """Let an item wait.

        Args:
            principal: Whose it is.
            key: What it can be taken together with: items of the same key.
            item: Told apart from others by identity.
        """
        self._names.arrive(principal.name, self._taken)
        self._sessions.arrive(principal, self._taken)
        self._added += 1
        queue = self._waiting.setdefault(key, {}).setdefault(principal, deque())
        queue.append(_Waiting(self._added, item))

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
        key, principal = found
        waiting = self._waiting[key][principal].popleft()
        self._drop_empty(key, principal)
        self._taken += 1
        self._names.served(principal.name, self._taken)
        self._sessions.served(principal, self._taken)
        return key, waiting.item

    def peek(self, key: Hashable) -> _T | None:
        """Return what `take` would, and leave it there."""
        found = self._next(key)
        return None if found is None else self._waiting[found[0]][found[1]][0].item

    def discard(self, principal: Principal, key: Hashable, item: _T) -> bool:
        """Take an item out of its turn. Returns whether it still waited."""
        queue = self._waiting.get(key, {}).get(principal)
        found = next((waiting for waiting in queue or () if waiting.item is item), None)
        if queue is None or found is None:
            return False
        queue.remove(found)
        self._drop_empty(key, principal)
        return True

    def count(self, key: Hashable) -> int:
        """Return how many items of a key wait."""
        return sum(map(len, self._waiting.get(key, {}).values()))

    def longest(self) -> int:
        """Return how many items of the same key wait at most."""
        return max(map(self.count, self._waiting), default=0)

    def _next(self, key: Hashable) -> tuple[Hashable, Principal] | None:
        keys = self._waiting if key is None else [key] if key in self._waiting else []
        candidates = [
            (
                self._names.last(principal.name),
                self._sessions.last(principal),
                queue[0].number,
                one,
                principal,
            )
            for one in keys
            for principal, queue in self._waiting[one].items()
        ]
        if not candidates:
            return None
        *_, chosen, principal = min(candidates, key=lambda candidate: candidate[:3])
        return chosen, principal

    def _drop_empty(self, key: Hashable, principal: Principal) -> None:
        by_principal = self._waiting[key]
        if not by_principal[principal]:
            del by_principal[principal]
        if not by_principal:
            del self._waiting[key]
