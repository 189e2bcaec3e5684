"""What a process that goes on with a run reads from its journal."""

from dataclasses import replace

import pytest

from maia.orchestrator.events import (
    BackboneReply,
    BlockEnded,
    BlockOutput,
    BlockStarted,
    Displayed,
    Event,
    ImageAdded,
    Stopped,
    TextPart,
    ToolCalled,
    ToolReturned,
    UserMessage,
)
from maia.orchestrator.tape import Tape

TASK = UserMessage(0, "task", [TextPart("go")])
REPLY = BackboneReply(1, "code", "m", 1.0)
STARTED = BlockStarted(1, 1, "x = 1")
CALLED = ToolCalled(1, 1, "tools.text2image", {}, "d1")
IMAGE = ImageAdded("img-1", 8, 8, "ab", "image/png")
RETURNED = ToolReturned(1, 0.1, value="AA==")
ENDED = BlockEnded(1, "ok", "", "kept", {})


def test_a_run_goes_on_after_its_last_whole_event() -> None:
    events: list[Event] = [TASK, REPLY, STARTED, BlockOutput(1, "half"), CALLED, Stopped("interrupted", "R", "m")]
    tape = Tape.of(events)
    assert tape.keeps == 2
    assert tape.replies == {1: REPLY}
    assert tape.messages == {0: TASK}
    assert (tape.blocks, tape.cut_calls, tape.tool_calls, tape.told) == ({}, {}, 0, 0)


def test_answered_calls_of_a_block_that_was_cut_are_kept_for_its_next_attempt() -> None:
    second = ToolCalled(1, 2, "tools.text2image", {}, "d2")
    first_try: list[Event] = [STARTED, CALLED, IMAGE, RETURNED, second, ToolReturned(2, 0.1, value="BB==")]
    second_try: list[Event] = [STARTED, CALLED, IMAGE, replace(RETURNED, seconds=9.0), BlockOutput(1, "x")]
    tape = Tape.of([TASK, REPLY, *second_try], voided=[first_try])
    assert set(tape.cut_calls) == {1, 2}
    assert tape.cut_calls[1].returned.seconds == 9.0
    assert tape.cut_calls[1].images == (IMAGE,)
    assert tape.tool_calls == 0


@pytest.mark.parametrize(
    ("tool", "warnings", "after", "whole"),
    [
        ("tools.text2image", [], [], True),
        ("tools.text2image", ["cannot draw"], [], False),
        ("tools.text2image", ["cannot draw"], [Displayed(1, [TextPart("Note")])], True),
        ("tools.display", [], [], False),
        ("tools.display", [], [Displayed(1, [TextPart("a")])], True),
        ("tools.display", [], [BlockOutput(1, "of a thread"), Displayed(1, [TextPart("a")])], True),
        ("tools.display", [], [BlockOutput(1, "of a thread")], False),
    ],
)
def test_an_answer_whose_display_is_missing_is_asked_for_again(
    tool: str, warnings: list[str], after: list[Event], whole: bool
) -> None:
    returned = replace(RETURNED, warnings=warnings)
    tape = Tape.of([TASK, REPLY, STARTED, replace(CALLED, tool=tool), returned, *after])
    assert (1 in tape.cut_calls) is whole
    if whole:
        shown = next((event.parts for event in after if isinstance(event, Displayed)), [])
        assert list(tape.cut_calls[1].shown) == list(shown)


def test_blocks_come_with_what_they_said_and_asked() -> None:
    output, shown = BlockOutput(1, "a"), Displayed(1, [TextPart("b")])
    events: list[Event] = [TASK, REPLY, STARTED, output, CALLED, IMAGE, RETURNED, shown, ENDED]
    (block,) = Tape.of(events).blocks.values()
    assert block.said == (output, shown)
    assert [call.called for call in block.calls] == [CALLED]
    assert Tape.of(events).told == 0
    assert Tape.of([*events, UserMessage(1, "results", [])]).told == 1


@pytest.mark.parametrize(
    ("states", "alive"),
    [
        (["kept", "kept"], [1, 2]),
        (["kept", "restored", "kept"], [1, 3]),
        (["kept", "lost", "kept"], [3]),
        (["kept", "lost"], []),
    ],
)
def test_a_new_session_runs_what_the_last_one_held(states: list[str], alive: list[int]) -> None:
    events: list[Event] = [TASK, REPLY]
    for number, state in enumerate(states, 1):
        events += [replace(STARTED, block=number), replace(ENDED, block=number, state=state)]
    assert [block.started.block for block in Tape.of(events).session()] == alive
