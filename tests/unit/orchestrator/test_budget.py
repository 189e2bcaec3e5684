"""Budgets: how they are written, what counts, when the agent is told."""

from __future__ import annotations

import pytest

from maia.orchestrator.budget import BatchBudget, Budget, Ledger, Spending
from maia.orchestrator.events import (
    BackboneReply,
    BlockEnded,
    DescriberReply,
    Event,
    PicturePart,
    ToolCalled,
    UserMessage,
)
from maia.wire.errors import InvalidRequestError


def reply(tokens: int = 0, usd: float | None = 0.0, at: float = 0.0) -> BackboneReply:
    usage = {"input": tokens, "output": 0, "cache_read": 0, "cache_write": 0}
    return BackboneReply(round=1, text="", model="m", seconds=1.0, usage=usage, usd=usd, at=at)


def called(call: int) -> ToolCalled:
    return ToolCalled(block=1, call=call, tool="tools.display", arguments={}, digest="")


def shown(count: int) -> UserMessage:
    return UserMessage(round=1, why="results", parts=[PicturePart("00", "image/png", 8, 8)] * count)


def described(tokens: int, usd: float | None) -> DescriberReply:
    return DescriberReply(
        call=1, index=0, digest="d", text="t", model="m", seconds=1.0, pictures=1, usage={"input": tokens}, usd=usd
    )


def test_every_kind_of_limit_can_be_given() -> None:
    text = " tokens=500000, usd=2.5,calls=200,pictures=1e3,minutes=30"
    assert Budget.parse(text) == Budget(tokens=500_000, usd=2.5, calls=200, pictures=1000, minutes=30.0)
    assert Budget.parse("") == Budget()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("token=5", "there is no budget 'token'; valid: tokens, usd, calls, pictures, minutes, for example tokens="),
        ("tokens", "the budget tokens is ''; it must be a positive whole number"),
        ("tokens=1.5", "positive whole number"),
        ("usd=-1", "the budget usd is '-1'; it must be a positive number"),
        ("usd=nan", "positive number"),
        ("minutes=inf", "positive number"),
        ("calls=0", "positive whole number"),
        ("usd=2,usd=3", "usd is there twice"),
        ("usd=2,", "there is no budget ''"),
    ],
)
def test_a_budget_that_is_none_is_refused_with_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        Budget.parse(text)
    assert said in str(caught.value)
    assert caught.value.reason == "BUDGET_INVALID"


def test_spending_is_read_from_the_events_of_a_journal() -> None:
    ended = BlockEnded(block=1, status="ok", message="", state="kept", usage={}, at=90.0)
    events: list[Event] = [
        reply(100, 0.5),
        called(1),
        called(2),
        described(20, 0.25),
        shown(3),
        reply(10, 0.125),
        ended,
    ]
    spending = Spending.of(events)
    assert spending.tokens == 130
    assert spending.usd == 0.875
    assert (spending.calls, spending.pictures, spending.seconds) == (2, 4, 90.0)


def test_one_reply_of_unknown_price_makes_the_cost_unknown() -> None:
    assert Spending.of([reply(1, 0.5), reply(1, None), reply(1, 0.5)]).usd is None


@pytest.mark.parametrize(
    ("budget", "event"),
    [
        (Budget(tokens=100), lambda share: reply(round(100 * share))),
        (Budget(usd=2.0), lambda share: reply(usd=2 * share)),
        (Budget(calls=10), lambda share: called(round(10 * share))),
        (Budget(pictures=10), lambda share: shown(round(10 * share))),
        (Budget(minutes=1.0), lambda share: reply(at=60 * share)),
    ],
)
def test_at_80_percent_the_agent_is_told_and_at_100_it_must_conclude(budget: Budget, event: object) -> None:
    assert callable(event)
    for share, standing in ((0.7, ""), (0.8, "near"), (0.9, "near"), (1.0, "spent"), (1.2, "spent")):
        ledger = Ledger(budget)
        ledger.note(event(share))
        assert ledger.remark(told=False, in_rounds=True)[0] == standing
        assert ledger.remark(told=True, in_rounds=True)[0] == ("spent" if standing == "spent" else "")
        assert ledger.remark(told=False, in_rounds=False) == ("", "")


def test_what_the_agent_is_told_names_the_limit() -> None:
    ledger = Ledger(Budget(tokens=10, usd=2.0))
    ledger.note(reply(1, 1.7))
    assert "you have used $1.70 of $2.00" in ledger.remark(told=False, in_rounds=True)[1]
    ledger.note(reply(9, 0.0))
    assert "used up: you have used 10 tokens of 10 tokens" in ledger.remark(told=True, in_rounds=True)[1]


def test_units_share_the_budget_of_their_batch() -> None:
    batch = BatchBudget(Budget(tokens=100, calls=5, usd=1.0))
    batch.add(Spending.of([reply(40, 0.1), called(1), called(2)]))
    first, second = Ledger(batch=batch), Ledger(batch=batch)
    first.note(called(1))
    first.note(called(2))
    assert batch.spending.calls == 4
    first.note(reply(50, 0.1))
    assert not batch.spent
    assert second.near == batch.near == "the batch has used 90 tokens of 100 tokens"
    second.note(reply(10, 0.1))
    spent = "the batch has used 100 tokens of 100 tokens"
    assert [first.spent, batch.spent] == [spent, spent]
    assert Ledger().spent is None


def test_the_minutes_of_a_batch_are_those_of_its_command() -> None:
    now = 1000.0
    batch = BatchBudget(Budget(minutes=2), clock=lambda: now)
    batch.add(Spending(seconds=500.0))
    now += 100
    assert (batch.spent, batch.near) == (None, "the batch has used 1.7 minutes of 2.0 minutes")
    now += 20
    assert batch.spent == "the batch has used 2.0 minutes of 2.0 minutes"


@pytest.mark.parametrize("text", ["", "tokens=500000", "tokens=1,usd=0.25,calls=2,pictures=3,minutes=30"])
def test_a_budget_is_written_as_it_is_read(text: str) -> None:
    assert str(Budget.parse(text)) == text


def test_a_larger_budget_has_the_same_limits() -> None:
    assert str(Budget.parse("usd=0.25,tokens=1e7").times(2)) == "tokens=20000000,usd=0.5"
