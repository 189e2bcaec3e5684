from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from maia.services._runtime.fairness import FairOrder, Principal


def order(*arrivals: str, key: Hashable = "key") -> FairOrder[str]:
    """Items such as A1, of the principal A."""
    made: FairOrder[str] = FairOrder()
    for item in arrivals:
        made.add(Principal(item[0]), key, item)
    return made


def emptied(made: FairOrder[str]) -> list[str]:
    found = []
    while (taken := made.take()) is not None:
        found.append(taken[1])
    return found


def test_principals_take_turns() -> None:
    assert emptied(order("A1", "A2", "B1", "C1", "C2", "A3")) == ["A1", "B1", "C1", "A2", "C2", "A3"]


def test_who_was_served_longest_ago_is_next_even_after_a_pause() -> None:
    made = order("A1", "B1")
    assert emptied(made) == ["A1", "B1"]
    for item in ("B2", "A2"):
        made.add(Principal(item[0]), "key", item)
    assert emptied(made) == ["A2", "B2"]


def test_a_name_gains_nothing_by_more_sessions() -> None:
    made: FairOrder[str] = FairOrder()
    for session in range(10):
        made.add(Principal("A", f"{session}"), "key", f"A{session}")
    made.add(Principal("B", "0"), "key", "B0")
    assert emptied(made)[:2] == ["A0", "B0"]


def test_sessions_of_a_name_take_turns() -> None:
    made: FairOrder[str] = FairOrder()
    for session, item in [("1", "a"), ("1", "b"), ("1", "c"), ("2", "d")]:
        made.add(Principal("A", session), "key", item)
    assert emptied(made) == ["a", "d", "b", "c"]


def test_newcomers_do_not_starve_who_waits() -> None:
    made = order("A1", "A2")
    assert made.take() == ("key", "A1")
    for number in range(50):
        made.add(Principal(f"new {number}"), "key", f"new {number}")
    made.take()
    made.add(Principal("later"), "key", "later")
    assert emptied(made).index("A2") < 50


def test_who_waits_is_served_though_thousands_came_and_went() -> None:
    made = order("A1", "B1")
    for number in range(10_001):
        principal = Principal(f"passing {number}")
        made.add(principal, "key", "gone")
        assert made.discard(principal, "key", "gone")
    for number in range(5):
        made.add(Principal("C"), "key", f"C{number}")
    assert {"A1", "B1"} == set(emptied(made)[:2])


def test_only_items_of_the_key_are_taken_and_keys_share_turns() -> None:
    made = order("A1", "A2", key="k1")
    made.add(Principal("B"), "k2", "B1")
    assert made.take("k2") == ("k2", "B1")
    assert made.take("k2") is None
    assert made.peek("k1") == made.peek(None) == "A1"
    assert made.count("k1") == made.longest() == 2
    assert made.count("k2") == 0


def test_what_is_discarded_is_not_taken() -> None:
    made = order("A1", "A2", "B1")
    assert made.discard(Principal("A"), "key", made.peek("key") or "")
    assert not made.discard(Principal("A"), "key", "A9")
    assert emptied(made) == ["A2", "B1"]


@given(st.lists(st.tuples(st.sampled_from("ABCD"), st.sampled_from("12"), st.sampled_from("xy")), max_size=60))
def test_each_is_taken_once_and_nobody_waits_longer_than_a_round(arrivals: list[tuple[str, str, str]]) -> None:
    made: FairOrder[tuple[int, str]] = FairOrder()
    for number, (name, session, key) in enumerate(arrivals):
        made.add(Principal(name, session), key, (number, name))
    taken = []
    while (found := made.take()) is not None:
        taken.append(found)
    assert sorted(number for _, (number, _) in taken) == list(range(len(arrivals)))
    assert all(arrivals[number][2] == key for key, (number, _) in taken)
    # At any moment those who still wait have been served equally often, give or take one.
    left = Counter(name for name, _, _ in arrivals)
    served: Counter[str] = Counter()
    for _, (_, name) in taken:
        served[name] += 1
        waiting = [served[other] for other in left if served[other] < left[other]]
        assert not waiting or max(waiting) - min(waiting) <= 1


class Plain:
    """The rule itself, by looking at everything that waits."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Principal, str, tuple[int, str]]] = []
        self.served: dict[Hashable, float] = {}
        self.arrived: dict[Hashable, int] = {}
        self.takes = 0
        self.arrivals = 0

    def add(self, principal: Principal, key: str, item: tuple[int, str]) -> None:
        for who in (principal.name, principal):
            self.arrivals += 1
            if all(who not in (other, other.name) for other, _, _ in self.waiting):
                self.arrived[who] = self.arrivals
            self.served.setdefault(who, self.takes - 0.5)
        self.waiting.append((principal, key, item))

    def take(self, key: str | None) -> tuple[str, tuple[int, str]] | None:
        candidates = [one for one in self.waiting if key in (None, one[1])]
        if not candidates:
            return None

        def turn(one: tuple[Principal, str, tuple[int, str]]) -> list[float]:
            principal, _, (number, _) = one
            ranks = [(self.served[who], self.arrived[who]) for who in (principal.name, principal)]
            return [*ranks[0], *ranks[1], number]

        chosen = min(candidates, key=turn)
        self.waiting.remove(chosen)
        self.takes += 1
        self.served[chosen[0].name] = self.served[chosen[0]] = self.takes
        return chosen[1], chosen[2]


_STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from("ABC"), st.sampled_from("12"), st.sampled_from("xyz")),
    st.tuples(st.just("take"), st.sampled_from(["x", "y", "z", None])),
    st.tuples(st.just("discard"), st.integers(0, 20)),
)


@given(st.lists(_STEPS, max_size=80))
def test_the_order_is_that_of_the_rule(steps: list[tuple[object, ...]]) -> None:
    made: FairOrder[tuple[int, str]] = FairOrder()
    plain = Plain()
    for number, step in enumerate(steps):
        match step:
            case ("add", str(name), str(session), str(key)):
                item = (number, name)
                made.add(Principal(name, session), key, item)
                plain.add(Principal(name, session), key, item)
            case ("take", key):
                assert made.take(key) == plain.take(key if isinstance(key, str) else None)
            case ("discard", int(place)) if plain.waiting:
                principal, key, item = plain.waiting.pop(place % len(plain.waiting))
                assert made.discard(principal, key, item)
                assert not made.discard(principal, key, item)
        for key in "xyz":
            assert made.count(key) == sum(key == other for _, other, _ in plain.waiting)
    for key in "xyz":
        while (taken := plain.take(key)) is not None:
            assert made.peek(key) == taken[1]
            assert made.take(key) == taken
    assert made.take() is None
