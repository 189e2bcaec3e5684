"""What a journal holds for the process that goes on with its run: replies, results and blocks that are not paid twice.

A run goes on after the last of its events at which everything before is whole: the task, a message, a reply, the end of
a block. A block that was cut short runs once more; its calls that had been answered are answered as they were, and the
one that was in flight is made again under its number, which gives it the same seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from maia.orchestrator.events import (
    BackboneReply,
    BlockEnded,
    BlockOutput,
    BlockStarted,
    Displayed,
    Event,
    Finished,
    ImageAdded,
    PartEvent,
    RunStarted,
    ToolCalled,
    ToolReturned,
    UserMessage,
)
from maia.sandbox import State

DISPLAY: Final = "tools.display"


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A tool call and its answer.

    Attributes:
        called: What was asked.
        images: What entered the image table, or was drawn, on the way.
        returned: The answer.
        shown: What the call showed, its notes included.
    """

    called: ToolCalled
    images: tuple[ImageAdded, ...]
    returned: ToolReturned
    shown: tuple[PartEvent, ...]


@dataclass(frozen=True, slots=True)
class RecordedBlock:
    """A block that came to its end.

    Attributes:
        started: Its code.
        said: Output and displays, in order.
        calls: In order.
        ended: How it ended.
    """

    started: BlockStarted
    said: tuple[BlockOutput | Displayed, ...]
    calls: tuple[RecordedCall, ...]
    ended: BlockEnded


@dataclass(frozen=True, slots=True)
class Tape:
    """A run as far as it is journaled.

    Attributes:
        started: None of a run that has not begun.
        finished: None of a run that has not ended.
        keeps: How many of the standing events stay so when a process goes on.
        replies: By number.
        messages: By the number of the reply that they answer; the task is 0.
        blocks: By number, those that ended.
        cut_calls: By number, the answered calls of the block that was cut short.
        images: That stay, in order.
        told: How many blocks the backbone has been told the results of.
        tool_calls: The highest number of a call that stays.
    """

    started: RunStarted | None
    finished: Finished | None
    keeps: int
    replies: Mapping[int, BackboneReply]
    messages: Mapping[int, UserMessage]
    blocks: Mapping[int, RecordedBlock]
    cut_calls: Mapping[int, RecordedCall]
    images: tuple[ImageAdded, ...]
    told: int
    tool_calls: int

    @classmethod
    def of(cls, events: Sequence[Event], voided: Iterable[Sequence[Event]] = ()) -> Tape:
        """Read the standing events of a journal, and those that earlier processes made void."""
        keeps = max((place for place, event in enumerate(events, 1) if isinstance(event, _WHOLE)), default=0)
        kept = events[:keeps]
        blocks = _blocks(kept)
        attempts = [call for part in (*voided, events[keeps:]) for call in _calls(part)]
        last = max((place for place, event in enumerate(kept) if isinstance(event, UserMessage)), default=0)
        return cls(
            started=events[0] if events and isinstance(events[0], RunStarted) else None,
            finished=next((event for event in kept if isinstance(event, Finished)), None),
            keeps=keeps,
            replies={event.round: event for event in kept if isinstance(event, BackboneReply)},
            messages={event.round: event for event in kept if isinstance(event, UserMessage)},
            blocks=blocks,
            cut_calls={call.called.call: call for call in attempts if call.called.block == len(blocks) + 1},
            images=tuple(event for event in kept if isinstance(event, ImageAdded)),
            told=sum(isinstance(event, BlockEnded) for event in kept[:last]),
            tool_calls=max((event.call for event in kept if isinstance(event, ToolCalled)), default=0),
        )

    def session(self) -> list[RecordedBlock]:
        """Return the blocks whose variables live on in the session, in order."""
        alive: list[RecordedBlock] = []
        for block in self.blocks.values():
            match block.ended.state:
                case State.LOST.value:
                    alive = []
                case State.RESTORED.value:
                    pass  # as if it had not run
                case _:
                    alive.append(block)
        return alive


_WHOLE: Final = (RunStarted, UserMessage, BackboneReply, BlockEnded, Finished)


def _blocks(events: Sequence[Event]) -> dict[int, RecordedBlock]:
    blocks: dict[int, RecordedBlock] = {}
    first = 0
    for place, event in enumerate(events):
        if isinstance(event, BlockStarted):
            first = place
        elif isinstance(event, BlockEnded):
            started, inside = events[first], events[first + 1 : place]
            assert isinstance(started, BlockStarted)  # nothing ends that did not begin
            said = tuple(one for one in inside if isinstance(one, BlockOutput | Displayed))
            blocks[event.block] = RecordedBlock(started, said, tuple(_calls((*inside, event))), event)
    return blocks


def _calls(events: Sequence[Event]) -> list[RecordedCall]:
    """Return the calls whose answers are whole.

    What a call shows is journaled after its answer; so the last answer before a kill may lack it.
    """
    calls: list[RecordedCall] = []
    called: ToolCalled | None = None
    images: list[ImageAdded] = []
    for place, event in enumerate(events):
        match event:
            case ToolCalled():
                called, images = event, []
            case ImageAdded():
                images.append(event)
            case ToolReturned() if called is not None and called.call == event.call:
                shown = _shown(called, event, events[place + 1 :])
                if shown is not None:
                    calls.append(RecordedCall(called, tuple(images), event, shown))
                called = None
            case _:
                pass
    return calls


def _shown(called: ToolCalled, returned: ToolReturned, after: Sequence[Event]) -> tuple[PartEvent, ...] | None:
    """Return what a call showed, None if the journal ends before that is known; output may come in between."""
    if not returned.warnings and (called.tool != DISPLAY or returned.error):
        return ()
    for event in after:
        match event:
            case Displayed():
                return tuple(event.parts)
            case ToolCalled() | BlockEnded():
                return ()
            case _:
                pass
    return None
