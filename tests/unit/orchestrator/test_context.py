"""What of a long conversation is sent: never over the limits, the same prefix between rare steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from maia.orchestrator.context import UNLIMITED, ContextLimits, fitted, picture_tokens
from maia.orchestrator.conversation import Message, Part, Picture, Text

SYSTEM = "You study a neuron."


def picture(name: str, *, size: int = 300, side: int = 64) -> Picture:
    return Picture(name.encode().ljust(size, b"."), "image/png", side, side, name)


def conversation(rounds: Sequence[Sequence[Picture]]) -> list[Message]:
    messages = [Message("user", (Text("The task."),))]
    for number, shown in enumerate(rounds, 1):
        parts: list[Part] = [Text(f"Results of round {number}")]
        for each in shown:
            parts += [Text(f"title of {each.name}"), each]
        messages += [Message("assistant", (Text("code"),)), Message("user", tuple(parts))]
    return messages


def requests(messages: Sequence[Message], limits: ContextLimits) -> list[list[Message]]:
    """Every request of a run that ends with these messages."""
    return [fitted(SYSTEM, messages[: end + 1], limits) for end in range(0, len(messages), 2)]


def pictures(messages: Sequence[Message]) -> list[Picture]:
    return [part for message in messages for part in message.parts if isinstance(part, Picture)]


def all_text(messages: Sequence[Message]) -> str:
    return "\n".join(message.text for message in messages)


def is_step(earlier: list[Message], later: list[Message]) -> bool:
    return later[: len(earlier)] != earlier


rounds_of_pictures = st.lists(
    st.lists(st.tuples(st.integers(1, 2000), st.integers(8, 400)), max_size=12), max_size=14
).map(
    lambda rounds: [
        [picture(f"img-{number}-{place}", size=size, side=side) for place, (size, side) in enumerate(shown)]
        for number, shown in enumerate(rounds)
    ]
)
some_limits = st.builds(
    ContextLimits,
    tokens=st.none() | st.integers(20_000, 40_000),
    pictures=st.none() | st.integers(0, 30),
    picture_side=st.none() | st.integers(100, 400),
    request_bytes=st.none() | st.integers(60_000, 90_000),
)


@settings(deadline=None, max_examples=200)
@given(rounds_of_pictures, some_limits)
def test_no_request_is_over_a_limit_and_each_ends_with_what_fits_of_the_last_message(
    rounds: list[list[Picture]], limits: ContextLimits
) -> None:
    messages = conversation(rounds)
    for sent in requests(messages, limits):
        whole = messages[: len(sent)]
        shown = pictures(sent)
        side = limits.picture_side or 10_000
        assert len(shown) <= (len(shown) if limits.pictures is None else limits.pictures)
        assert all(max(each.width, each.height) <= side for each in shown)
        size = sum(len(each.data) * 4 / 3 for each in shown) + len(all_text(sent))
        assert limits.request_bytes is None or size <= limits.request_bytes
        tokens = sum(map(picture_tokens, shown)) + len(all_text(sent)) / 3
        assert limits.tokens is None or tokens <= limits.tokens
        assert [message.role for message in sent] == [message.role for message in whole]
        fresh = [each for each in pictures(whole[-1:]) if max(each.width, each.height) <= side]
        kept = pictures(sent[-1:])
        assert kept == fresh[: len(kept)], "its first ones stay"
        if kept != fresh:
            assert pictures(sent[:-1]) == [], "older ones give way first"


@settings(deadline=None, max_examples=200)
@given(rounds_of_pictures, some_limits)
def test_what_gave_way_stays_away_and_is_named(rounds: list[list[Picture]], limits: ContextLimits) -> None:
    sent = requests(conversation(rounds), limits)
    for earlier, later in pairwise(sent):
        before = {each.name for each in pictures(earlier)}
        assert {each.name for each in pictures(later[: len(earlier)])} <= before
    text = all_text(sent[-1])
    shown = {each.name for each in pictures(sent[-1])}
    for each in pictures(conversation(rounds)):
        assert each.name in shown or f" {each.name}" in text


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 10), st.integers(40, 60))
def test_steps_are_rare_and_between_them_the_prefix_stays(each_round: int, most: int) -> None:
    rounds = [[picture(f"img-{number}-{place}") for place in range(each_round)] for number in range(40)]
    sent = requests(conversation(rounds), ContextLimits(pictures=most))
    steps = [is_step(earlier, later) for earlier, later in pairwise(sent)]
    between = most // 2 // each_round - 1  # half of the room is free after a step, but for the round that caused it
    assert sum(steps) <= len(rounds) / max(1, between) + 1
    assert any(steps) == (40 * each_round > most)


def test_neighbours_share_a_line_and_titles_stay() -> None:
    shown = [picture("img-1"), picture("img-2"), picture("img-3")]
    messages = [
        Message("user", (Text("task"),)),
        Message("assistant", (Text("code"),)),
        Message("user", (Text("three"), *shown, Text("and one"), picture("img-4"))),
        Message("assistant", (Text("code"),)),
        Message("user", (Text("new"), picture("img-5"), picture("img-6"))),
    ]
    sent = fitted(SYSTEM, messages, ContextLimits(pictures=4))
    assert sent[2].parts == (
        Text(
            "three\n[pictures img-1, img-2, img-3 were shown here; display them again to see them]\nand one\n"
            "[picture img-4 was shown here; display it again to see it]"
        ),
    )
    assert sent[4] == messages[4]
    assert messages[2].parts[1] is shown[0], "the conversation itself is untouched"


def test_pictures_without_a_name_are_counted() -> None:
    nameless = Picture(b"x", "image/png", 8, 8)
    sent = fitted(SYSTEM, [Message("user", (nameless, nameless, picture("img-1")))], ContextLimits(pictures=0))
    assert sent[0].text == "[pictures img-1 and 2 more were shown here; display them again to see them]"
    sent = fitted(SYSTEM, [Message("user", (nameless,))], ContextLimits(pictures=0))
    assert sent[0].text == "[a picture was shown here]"


def test_without_limits_everything_is_sent() -> None:
    messages = conversation([[picture(f"img-{place}") for place in range(700)]])
    assert fitted(SYSTEM, messages, UNLIMITED) == messages
