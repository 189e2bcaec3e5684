"""What units have cost, and what the rest will."""

from __future__ import annotations

from maia.cli.spending import Spending, Spent
from maia.orchestrator.events import BackboneReply, DescriberReply, UnitName

UNITS = [UnitName("m", "l", index) for index in range(3)]


def reply(tokens: int, usd: float | None = None) -> BackboneReply:
    return BackboneReply(round=1, text="", model="m", seconds=0.0, usage={"input": tokens - 1, "output": 1}, usd=usd)


def test_the_rest_is_expected_to_cost_what_finished_units_did() -> None:
    spending = Spending()
    spending.note(UNITS[0], reply(100, 1.0))
    assert spending.to_come(10) is None
    spending.note(UNITS[0], reply(300, 3.0))
    spending.end(UNITS[0], finished=True)
    spending.note(UNITS[1], reply(100, 1.0))
    assert spending.total == Spent(500, 5.0)
    assert spending.to_come(10) == Spent(4300, 43.0)
    spending.note(UNITS[1], reply(900, 9.0))  # more than expected, and what is still to come nobody knows
    assert spending.to_come(0) == Spent(0, 0.0)


def test_units_that_were_stopped_do_not_say_what_one_costs() -> None:
    spending = Spending()
    spending.note(UNITS[0], reply(10))
    spending.end(UNITS[0], finished=False)
    assert spending.to_come(1) is None
    assert spending.total.tokens == 10


def test_money_is_known_only_where_all_of_it_is() -> None:
    spending = Spending()
    spending.note(UNITS[0], reply(10, 1.0))
    assert spending.total.cost == 1.0
    spending.note(UNITS[1], reply(10))
    assert spending.total == Spent(20, None)


def test_replies_without_tokens_cost_nothing() -> None:
    spending = Spending()
    spending.note(UNITS[0], BackboneReply(round=1, text="", model="scripted", seconds=0.0, usage={"input": 0}))
    assert spending.total == Spent(0, 0.0)


def test_what_describers_cost_counts_and_replies_bring_their_price() -> None:
    spending = Spending()
    paid = BackboneReply(round=1, text="", model="m", seconds=0.0, usage={"input": 10}, usd=0.5)
    described = DescriberReply(
        call=1, index=0, digest="d", text="", model="d", seconds=0.0, usage={"input": 4}, usd=0.25
    )
    spending.note(UNITS[0], paid)
    spending.note(UNITS[0], described)
    assert spending.total == Spent(14, 0.75)
