"""A backbone as describer: what it is shown, what is journaled, and that nothing is paid for twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from maia.orchestrator.budget import Budget, Ledger
from maia.orchestrator.clients import Region, Terms
from maia.orchestrator.conversation import Message, Picture, Reply, Text, TokenUsage
from maia.orchestrator.describing import BackboneDescriber
from maia.orchestrator.describing.backbone import AT_ONCE, answered
from maia.orchestrator.errors import BackboneError
from maia.orchestrator.events import DescriberReply
from maia.orchestrator.images.table import SHOWN_SIDE
from maia.orchestrator.toolbox import Call
from maia.sandbox import ToolError
from maia.wire.pictures import decode, encode_png

if TYPE_CHECKING:
    from tests.unit.orchestrator.tools.conftest import Bench

USAGE = TokenUsage(input=100, output=10)


@dataclass
class Onlooker:
    """Says the mean of the red channel of what it is shown, or counts the lines of a text; keeps what it was asked."""

    name: str = "onlooker"
    asked: list[Message] = field(default_factory=list)
    fail_at: int = 1_000
    under_way: int = 0
    most_under_way: int = 0

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        assert "Answer with the words alone" in system
        (message,) = messages
        self.asked.append(message)
        number = len(self.asked)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.001 * (5 - number % 5))
        self.under_way -= 1
        if number >= self.fail_at:
            raise BackboneError("no more", transient=False)
        pictures = [part for part in message.parts if isinstance(part, Picture)]
        words = (
            f"red {decode(pictures[0].data)[..., 0].mean():.0f}" if pictures else f"{message.text.count('. red')} of"
        )
        return Reply(f" {words}\n", "onlooker-1", USAGE, "end_turn")

    async def aclose(self) -> None:
        pass


def plain(red: int, side: int = 16) -> Picture:
    rgb = np.zeros((side, side, 3), np.uint8)
    rgb[..., 0] = red
    return Picture(encode_png(rgb), "image/png", side, side)


def half() -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.zeros((16, 16), np.bool_)
    mask[:8] = True
    return mask


def call(number: int = 1) -> Call:
    return Call(number, Terms.within(20))


async def in_turn(describer: BackboneDescriber, regions: Sequence[Region]) -> None:
    for region in regions:
        await describer.describe([region], call())


@pytest.fixture
def onlooker() -> Onlooker:
    return Onlooker()


@pytest.fixture
def ledger(bench: Bench) -> Ledger:
    ledger = Ledger()
    bench.record.journal.listeners.append(ledger.note)
    return ledger


@pytest.fixture
def describer(bench: Bench, onlooker: Onlooker, ledger: Ledger) -> BackboneDescriber:
    return BackboneDescriber(onlooker, bench.record, ledger, lambda usage: usage.input / 1000)


async def test_each_picture_is_asked_about_alone_and_answers_come_in_order(
    describer: BackboneDescriber, onlooker: Onlooker
) -> None:
    regions = [Region(plain(red)) for red in range(0, 200, 10)]
    assert await describer.describe(regions, call()) == [f"red {red}" for red in range(0, 200, 10)]
    assert len(onlooker.asked) == 20
    assert onlooker.most_under_way == AT_ONCE


async def test_a_region_is_shown_darkened_outside_and_asked_about_as_such(
    describer: BackboneDescriber, onlooker: Onlooker
) -> None:
    assert await describer.describe([Region(plain(200), half()), Region(plain(200))], call()) == ["red 125", "red 200"]
    asked = {decode(message.parts[0].data)[..., 0].mean(): message.text for message in onlooker.asked}  # type: ignore[union-attr]
    assert "bright regions" in asked[125.0]
    assert "bright" not in asked[200.0]


async def test_large_pictures_are_shown_as_large_as_displayed_ones(
    describer: BackboneDescriber, onlooker: Onlooker
) -> None:
    await describer.describe([Region(plain(90, 2 * SHOWN_SIDE))], call())
    shown = onlooker.asked[0].parts[0]
    assert isinstance(shown, Picture)
    assert (shown.width, shown.height) == decode(shown.data).shape[:2] == (SHOWN_SIDE, SHOWN_SIDE)


async def test_a_summary_is_asked_of_descriptions(describer: BackboneDescriber, onlooker: Onlooker) -> None:
    regions = [Region(plain(red)) for red in (10, 20, 20)]
    assert await describer.summarize(regions, call()) == "3 of"
    assert onlooker.asked[-1].parts == (Text(onlooker.asked[-1].text),)
    assert "1. red 10\n2. red 20\n3. red 20" in onlooker.asked[-1].text
    assert "of the 3 they are" in onlooker.asked[-1].text
    assert len(onlooker.asked) == 3, "the same picture is asked about once"


async def test_replies_are_journaled_and_count_in_the_budget(
    bench: Bench, describer: BackboneDescriber, ledger: Ledger
) -> None:
    await describer.summarize([Region(plain(10)), Region(plain(20))], call(7))
    events = bench.events(DescriberReply)
    assert sorted((event.call, event.index, event.text, event.pictures) for event in events) == [
        (7, 0, "red 10", 1),
        (7, 1, "red 20", 1),
        (7, 2, "2 of", 0),
    ]
    assert {(event.model, event.usage["input"], event.usd) for event in events} == {("onlooker-1", 100, 0.1)}
    assert ledger.spending.tokens == 330
    assert ledger.spending.usd == pytest.approx(0.3)
    assert ledger.spending.pictures == 2


async def test_what_a_journal_holds_is_not_asked_again(
    bench: Bench, describer: BackboneDescriber, onlooker: Onlooker, ledger: Ledger
) -> None:
    regions = [Region(plain(10)), Region(plain(20), half()), Region(plain(20))]
    first = await describer.summarize(regions, call())
    later = Onlooker()
    known = answered(bench.events())
    again = BackboneDescriber(later, bench.record, ledger, lambda _: None, known)
    assert await again.summarize(regions, call()) == first
    assert later.asked == []
    other = BackboneDescriber(Onlooker("another"), bench.record, ledger, lambda _: None, known)
    await other.describe(regions, call())
    assert len(onlooker.asked) == 4
    assert isinstance(other.backbone, Onlooker)
    assert len(other.backbone.asked) == 3, "another model says something else"


async def test_after_a_failure_no_further_request_is_sent_and_what_arrived_is_kept(
    bench: Bench, describer: BackboneDescriber, onlooker: Onlooker, ledger: Ledger
) -> None:
    onlooker.fail_at = 4
    regions = [Region(plain(red)) for red in range(0, 200, 10)]
    with pytest.raises(BackboneError, match="no more"):
        await describer.describe(regions, call())
    assert len(onlooker.asked) <= 3 + AT_ONCE
    kept = answered(bench.events())
    assert len(kept) == 3
    again = BackboneDescriber(Onlooker(), bench.record, ledger, lambda _: None, kept)
    assert await again.describe(regions, call()) == [f"red {red}" for red in range(0, 200, 10)]
    assert isinstance(again.backbone, Onlooker)
    assert len(again.backbone.asked) == 17


async def test_on_an_exhausted_budget_the_code_is_told_and_nothing_is_asked(
    bench: Bench, describer: BackboneDescriber, onlooker: Onlooker, ledger: Ledger
) -> None:
    ledger.budget = Budget(tokens=200)
    with pytest.raises(ToolError, match=r"budget is used up \(you have used 2\d0 tokens of 200 tokens\); conclude"):
        await in_turn(describer, [Region(plain(red)) for red in range(10)])
    assert len(onlooker.asked) == 2
    assert await describer.describe([Region(plain(0))], call()) == ["red 0"], "what is known costs nothing"


async def test_an_empty_answer_is_said_to_be_one(bench: Bench, ledger: Ledger) -> None:
    class Silent(Onlooker):
        async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
            return Reply("  ", "silent")

    describer = BackboneDescriber(Silent(), bench.record, ledger, lambda _: None)
    assert await describer.describe([Region(plain(1))], call()) == ["(no description was given)"]


async def test_the_tools_ask_it_in_place_of_the_server(bench: Bench, describer: BackboneDescriber) -> None:
    bench.study.describer = describer
    images = [bench.picture(10), bench.picture(20)]
    text = await bench.gateway.call("tools.describe_images", {"images": images, "titles": ["a", "b"]})
    assert text == '"a", HIGHLIGHTED REGIONS: red 10\n"b", HIGHLIGHTED REGIONS: red 20'
    assert await bench.gateway.call("tools.summarize_images", {"images": images}) == "2 of"
    assert {event.call for event in bench.events(DescriberReply)} == {1, 2}
