"""Retells a journal as rounds: what the agent wrote, what its code did, what it was shown, what was measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from markupsafe import Markup

from maia.orchestrator.events import (
    BackboneReply,
    BlockEnded,
    BlockOutput,
    BlockStarted,
    Displayed,
    Event,
    ImageAdded,
    PicturePart,
    TextPart,
    ToolCalled,
    ToolReturned,
    UserMessage,
    Why,
)
from maia.orchestrator.report.exemplars import exemplar_lists
from maia.orchestrator.report.gallery import Figure, Gallery
from maia.orchestrator.report.hypotheses import statements
from maia.orchestrator.report.prose import prose

_LETTER: Final = re.compile(r"[^\W\d_]")
_CAPTION: Final = 160  # a text of one line up to this length, displayed right before a picture, is its caption


@dataclass(slots=True)
class Call:
    """A tool call; `returned` is None while the answer is not there."""

    called: ToolCalled
    returned: ToolReturned | None = None

    @property
    def plain_display(self) -> bool:
        """Whether all there is to say of the call is what it displayed."""
        return self.called.tool == "tools.display" and self.returned is not None and not self.returned.error


@dataclass(frozen=True, slots=True)
class Card:
    """A displayed picture with the text that was displayed beside it, unless numbers and its title are all it says."""

    caption: str
    figure: Figure


@dataclass(slots=True)
class Cards:
    """Pictures displayed side by side."""

    cards: list[Card] = field(default_factory=list)


@dataclass(slots=True)
class Output:
    """Text that the block printed, or displayed."""

    text: str
    displayed: bool


@dataclass(slots=True)
class Block:
    """One experiment; `ended` is None while it runs, or when the run was killed in it."""

    started: BlockStarted
    calls: list[Call] = field(default_factory=list)
    log: list[Cards | Output] = field(default_factory=list)
    ended: BlockEnded | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What servers warned about, each text once."""
        returned = (call.returned for call in self.calls if call.returned)
        return tuple(dict.fromkeys(warning for answer in returned for warning in answer.warnings))


@dataclass(slots=True)
class Round:
    """One reply and what came of it.

    Attributes:
        number: From 1.
        reply: What the agent wrote.
        sections: The reply's prose and its blocks, in the order of the reply.
        statements: Hypotheses of the reply.
        measured: Views measured by the round's blocks, the exemplars' own left out.
        reminders: What was said to a reply that lacked something.
    """

    number: int
    reply: BackboneReply
    sections: list[Markup | Block] = field(default_factory=list)
    statements: tuple[str, ...] = ()
    measured: list[Figure] = field(default_factory=list)
    reminders: list[tuple[Why, str]] = field(default_factory=list)


@dataclass(slots=True)
class Story:
    """A run in the order of its telling."""

    task: str
    exemplars: tuple[Figure, ...]
    rounds: list[Round]


def tell(events: Sequence[Event], gallery: Gallery) -> Story:
    """Retell a journal of any state: finished, stopped, or cut anywhere."""
    lists = exemplar_lists(events, gallery)
    teller = _Teller(gallery, frozenset(image for images in lists for image in images))
    for event in events:
        teller.hear(event)
    exemplars = tuple(gallery.figure(image) for image in lists[0]) if lists else ()
    for round_ in teller.rounds:
        blocks = [section for section in round_.sections if isinstance(section, Block)]
        round_.sections = _sections(round_.reply.text, blocks)
    return Story(teller.task, exemplars, teller.rounds)


class _Teller:
    """Hears one event after another; blocks gather in their round until the reply is cut up around them."""

    def __init__(self, gallery: Gallery, exemplars: frozenset[str]) -> None:
        self.task = ""
        self.rounds: list[Round] = []
        self._gallery = gallery
        self._exemplars = exemplars
        self._blocks: dict[int, Block] = {}
        self._calls: dict[int, Call] = {}
        self._measured: set[str] = set()

    def hear(self, event: Event) -> None:
        match event:
            case UserMessage():
                self._message(event)
            case BackboneReply():
                self.rounds.append(Round(event.round, event, statements=statements(event.text)))
            case BlockStarted() if self.rounds:
                self._blocks[event.block] = Block(event)
                # Not prose yet: `tell` puts each block where the reply has it.
                self.rounds[-1].sections.append(self._blocks[event.block])
            case ToolCalled() if event.block in self._blocks:
                self._calls[event.call] = Call(event)
                self._blocks[event.block].calls.append(self._calls[event.call])
            case ToolReturned() if event.call in self._calls:
                self._calls[event.call].returned = event
            case BlockOutput() if event.block in self._blocks:
                _print(self._blocks[event.block].log, event.text)
            case Displayed() if event.block in self._blocks:
                _display(self._blocks[event.block].log, event.parts, self._gallery)
            case BlockEnded() if event.block in self._blocks:
                self._blocks[event.block].ended = event
            case ImageAdded():
                self._image(event)
            case _:
                pass

    def _message(self, event: UserMessage) -> None:
        text = "\n".join(part.text for part in event.parts if isinstance(part, TextPart))
        if event.why == "task":
            self.task = text
        elif event.why == "final" and event.parts and isinstance(event.parts[-1], TextPart) and self.rounds:
            # The results come first in the same message; the final instructions end its last text.
            self.rounds[-1].reminders.append((event.why, ""))
        elif event.why != "results" and self.rounds:
            self.rounds[-1].reminders.append((event.why, text))

    def _image(self, event: ImageAdded) -> None:
        measured = event.view_of and "activation" in event.view and event.image_id not in self._exemplars
        if measured and self.rounds and event.image_id not in self._measured:
            self._measured.add(event.image_id)
            self.rounds[-1].measured.append(self._gallery.figure(event.image_id))


def _print(log: list[Cards | Output], text: str) -> None:
    last = log[-1] if log else None
    if isinstance(last, Output) and not last.displayed:
        last.text += text
    else:
        log.append(Output(text, displayed=False))


def _display(log: list[Cards | Output], parts: Sequence[TextPart | PicturePart], gallery: Gallery) -> None:
    captions = _captions(parts)
    used = {position for position, _ in captions.values()}
    for position, part in enumerate(parts):
        if isinstance(part, TextPart):
            if position not in used:
                log.append(Output(part.text, displayed=True))
            continue
        last = log[-1] if log else None
        cards = last if isinstance(last, Cards) else Cards()
        if cards is not last:
            log.append(cards)
        figure, (_, caption) = gallery.figure_of(part), captions.get(position, (0, ""))
        cards.cards.append(Card(caption if _LETTER.search(caption.replace(figure.title, "")) else "", figure))


def _captions(parts: Sequence[TextPart | PicturePart]) -> dict[int, tuple[int, str]]:
    """Return for pictures the place and text of their captions: before them, or after where a picture comes first."""
    step = 1 if parts and isinstance(parts[0], PicturePart) else -1
    found: dict[int, tuple[int, str]] = {}
    for position, part in enumerate(parts):
        beside = parts[position + step] if 0 <= position + step < len(parts) else None
        if isinstance(part, PicturePart) and isinstance(beside, TextPart) and _is_caption(beside.text):
            found[position] = (position + step, beside.text.strip())
    return found


def _is_caption(text: str) -> bool:
    return len(text) <= _CAPTION and "\n" not in text.strip()


def _sections(reply: str, blocks: Sequence[Block]) -> list[Markup | Block]:
    """Cut a reply around the blocks that ran; a block stands in it letter by letter, between its fences."""
    text = reply.replace("\r\n", "\n")
    sections: list[Markup | Block] = []
    at = 0
    for block in blocks:
        start = text.find("\n" + block.started.code, at)
        if start >= 0:
            fence = text.rfind("\n", at, start) + 1 or at
            sections.append(prose(text[at:fence]))
            end = text.find("\n", start + 1 + len(block.started.code))
            at = len(text) if end < 0 else end + 1
        sections.append(block)
    sections.append(prose(text[at:]))
    return [section for section in sections if isinstance(section, Block) or section]
