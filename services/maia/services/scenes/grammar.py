"""Prompt → specification. Natural phrasing in, and a warning for every word that cannot be drawn.

The parser walks once over the tokens and never looks back. Attributes wait in a draft until a noun takes them ("red" …
"circle"); behind a link ("that is", "with") they describe the noun before. Unknown words between an attribute and the end of
its phrase mean that the attribute belonged to something unknown ("a red dog"), so both are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

from maia.services.scenes.scene import THING_COLOURS, Colour, Relation, Shape, Size, Texture
from maia.services.scenes.specification import MAX_DRAWN, Place, Specification, Wanted, WantedBackground, WantedRelation
from maia.services.scenes.words import SOFT_RELATIONS, Kind, Token, scan

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_NAMED: Final = 20  # ignored words that one warning names


@dataclass(frozen=True, slots=True)
class ParsedPrompt:
    """What was understood.

    Attributes:
        specification: What to draw.
        warnings: Sentences about what was not; together they name every ignored word (the first twenty).
    """

    specification: Specification
    warnings: tuple[str, ...]


def parse(prompt: str) -> ParsedPrompt:
    """Read a prompt. Accepts any text; one in which nothing is understood asks for a plain background, with a warning."""
    return _Parser().run(scan(prompt))


@dataclass(slots=True)
class _Draft:
    """A noun phrase under construction, or one that is finished and may still be described further."""

    shape: Shape | None = None
    colours: list[Colour] = field(default_factory=list)
    texture: Texture | None = None
    size: Size | None = None
    place: Place | None = None
    count: int | None = None
    plural: bool = False
    is_background: bool = False
    words: list[str] = field(default_factory=list)  # those of the attributes, for the warning if they are dropped
    unknown: list[str] = field(default_factory=list)
    linked: bool = False
    opened: bool = False  # by an article or a number

    @property
    def described(self) -> bool:
        return bool(self.shape or self.colours or self.texture or self.size)


class _Parser:
    def __init__(self) -> None:
        self._heads: list[_Draft] = []
        self._background = _Draft(is_background=True)
        self._last: _Draft | None = None  # the noun that a link describes
        self._draft = _Draft()
        self._relations: list[tuple[_Draft, Relation, _Draft]] = []
        self._pending: tuple[_Draft, Token] | None = None  # a relation that waits for its object
        self._places_lead = False
        self._negated: list[str] | None = None
        self._previous = Kind.STOP
        self._ignored: list[str] = []
        self._warnings: list[str] = []

    def run(self, tokens: Sequence[Token]) -> ParsedPrompt:
        for token in tokens:
            if self._negated is None or not self._negate(token):
                self._take(token)
            if token.kind is not Kind.FILLER:
                self._previous = token.kind
        self._take(Token(Kind.STOP, ""))
        return self._finish()

    def _take(self, token: Token) -> None:
        match token.kind:
            case Kind.SHAPE | Kind.GENERIC:
                self._noun(token)
            case Kind.BACKGROUND:
                self._background_noun()
            case Kind.COLOUR | Kind.TEXTURE | Kind.SIZE | Kind.SHAPE_ADJECTIVE:
                self._attribute(token)
            case Kind.TEXTURE_NOUN:
                self._texture_noun(token)
            case Kind.ARTICLE | Kind.COUNT:
                self._open(token)
            case Kind.PLACE:
                self._place(token)
            case Kind.RELATION | Kind.CONTAINING:
                self._relation(token)
            case Kind.LINK:
                self._close()
                self._draft.linked = True
            case Kind.AND | Kind.COMMA | Kind.STOP:
                self._boundary(token.kind)
            case Kind.NEGATION:
                self._negated = [token.text]
            case Kind.UNKNOWN:
                self._draft.unknown.append(token.text)
            case Kind.FILLER:
                pass

    def _noun(self, token: Token) -> None:
        draft, last = self._draft, self._last
        if token.kind is Kind.GENERIC:
            if self._previous is Kind.SHAPE and last is not None:  # "square shapes"
                last.plural = token.plural
                return
            if not draft.described and not draft.opened and not draft.linked and draft.count is None and draft.unknown:
                return  # "dog shapes"
        else:
            if self._previous is Kind.SHAPE and last is not None and last.shape is token.value:
                return  # "crescent moon"
            draft.shape = cast(Shape, token.value)
            if draft.linked and not draft.opened and last in self._heads and last is not None and last.shape is None:
                self._describe(last)  # "things that are circles"
                return
        draft.plural = token.plural
        self._ignored += draft.unknown
        draft.unknown = []
        self._head(draft)

    def _head(self, draft: _Draft) -> None:
        """Make a finished draft the noun that everything following refers to."""
        self._heads.append(draft)
        if self._pending is not None:
            subject, token = self._pending
            self._relate(subject, token, draft)
        self._pending = None
        self._last = draft
        self._draft = _Draft()

    def _background_noun(self) -> None:
        if self._pending is not None and self._pending[1].text not in SOFT_RELATIONS:
            self._ignored.append(self._pending[1].text)
        self._pending = None
        self._last = self._background
        self._draft.linked = True
        self._describe(self._background)

    def _attribute(self, token: Token) -> None:
        draft, value = self._draft, token.value
        draft.words.append(token.text)
        if isinstance(value, Colour):
            draft.colours.append(value)
        elif isinstance(value, Texture):
            draft.texture = value
        elif isinstance(value, Size):
            draft.size = value
        elif isinstance(value, Shape):
            draft.shape = value

    def _texture_noun(self, token: Token) -> None:
        draft = self._draft
        texture = cast(Texture, token.value)
        if token.text in {"dots", "spots"} and not draft.linked and self._last is not self._background:
            self._noun(Token(Kind.SHAPE, token.text, Shape.CIRCLE, plural=True))  # "three red dots"
            return
        draft.texture = texture
        draft.words.append(token.text)
        if draft.linked and self._last is not None:
            draft.colours = [
                colour for colour in draft.colours if colour is not Colour.WHITE or self._last_is_background
            ]
            self._describe(self._last)

    @property
    def _last_is_background(self) -> bool:
        return self._last is self._background

    def _open(self, token: Token) -> None:
        draft = self._draft
        if token.text == "one" and draft.described:  # "the red one"
            self._noun(Token(Kind.GENERIC, token.text))
            return
        if draft.described or draft.unknown:
            self._close()
        draft = self._draft
        draft.opened = True
        if token.kind is Kind.COUNT:
            draft.count = cast(int, token.value)

    def _place(self, token: Token) -> None:
        place = cast(Place, token.value)
        bare = token.text.split()[0] not in {"on", "in", "at", "to", "near", "toward", "towards", "the"}
        if self._draft.opened and (bare or self._draft.described):  # "the left circle"
            self._draft.place = place
            return
        self._close()
        if self._last in self._heads and self._last is not None and not self._places_lead:
            self._last.place = place
        else:  # "on the left a circle"
            self._places_lead = True
            self._draft.place = place

    def _relation(self, token: Token) -> None:
        self._close()
        subject = self._last
        if self._previous is Kind.AND and self._relations:  # "above the star and left of the ring"
            subject = self._relations[-1][0]
        if token.text == "in":
            self._draft.linked = True  # "a circle in red"
        if subject is not None and subject is not self._background:
            self._pending = (subject, token)
        elif token.text not in SOFT_RELATIONS:
            self._ignored.append(token.text)

    def _boundary(self, kind: Kind) -> None:
        draft = self._draft
        if kind is Kind.AND and draft.described and not draft.unknown:
            return  # "red and blue circles", "that is red and striped"
        if kind is Kind.COMMA and draft.described and not draft.unknown and not draft.linked:
            return  # "large, red circle"
        self._close()
        if kind is not Kind.AND or self._previous not in {Kind.SHAPE, Kind.GENERIC}:
            self._drop_relation()
        if kind is Kind.STOP:
            self._last = None
            self._draft = _Draft()

    def _close(self) -> None:
        """End the draft without a noun: it describes the noun before, or is a thing by itself ("red"), or is dropped."""
        draft = self._draft
        if draft.unknown:
            self._ignored.append(" ".join([*draft.words, *draft.unknown]))
            self._pending = None
        elif draft.described and draft.linked and self._last is not None:
            self._describe(self._last)
            return
        elif draft.described:
            self._head(draft)
            return
        elif draft.linked or draft.opened or draft.place:  # nothing said yet
            self._draft = _Draft(place=draft.place)
            return
        self._draft = _Draft()

    def _describe(self, noun: _Draft) -> None:
        """Add the draft's attributes to a noun, which keeps what it has."""
        draft = self._draft
        noun.shape = noun.shape or draft.shape
        if noun.colours and draft.colours:
            self._ignored.append(f"{draft.colours[0]} on {noun.colours[0]}")
        noun.colours = noun.colours or draft.colours
        noun.texture = draft.texture or noun.texture
        noun.size = draft.size or noun.size
        self._ignored += draft.unknown
        if self._pending is not None and self._pending[1].text in SOFT_RELATIONS:
            self._pending = None
        self._draft = _Draft()

    def _drop_relation(self) -> None:
        """Resolve a relation without object: "a circle with a star inside" relates the two nouns before it."""
        if self._pending is not None:
            subject, token = self._pending
            before = [head for head in self._heads if head is not subject]
            if before and token.text not in SOFT_RELATIONS:
                self._relate(subject, token, before[-1])
            elif token.text not in SOFT_RELATIONS:
                self._ignored.append(token.text)
        self._pending = None

    def _relate(self, subject: _Draft, token: Token, other: _Draft) -> None:
        if token.kind is Kind.CONTAINING:
            self._relations.append((other, Relation.INSIDE, subject))
        else:
            self._relations.append((subject, cast(Relation, token.value), other))

    def _negate(self, token: Token) -> bool:
        """Collect what is negated, up to its noun or the end of its phrase; return whether the token was part of it."""
        assert self._negated is not None
        ends = {Kind.AND, Kind.COMMA, Kind.STOP, Kind.RELATION, Kind.PLACE, Kind.LINK, Kind.NEGATION}
        nouns = {Kind.SHAPE, Kind.GENERIC, Kind.BACKGROUND, Kind.TEXTURE_NOUN}
        inside = token.kind not in ends
        if inside:
            self._negated.append(token.text)
        if not inside or token.kind in nouns:
            self._ignored.append(" ".join(self._negated))
            self._negated = None
        return inside

    def _finish(self) -> ParsedPrompt:
        if self._ignored:
            named = [phrase[:60] for phrase in dict.fromkeys(self._ignored)]
            more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
            self._warn(f"cannot draw: {', '.join(named[:_MAX_NAMED])}{more}")
        groups, members = self._groups()
        relations = tuple(
            WantedRelation(one, relation, two)
            for subject, relation, other in self._relations
            for one in members[id(subject)]
            for two in members[id(other)]
            if one != two
        )
        colours, texture = self._background.colours, self._background.texture
        if len(colours) > 1:
            self._warn(f"a background has one colour; drew it {colours[0]}")
        background = WantedBackground(next(iter(colours), None), texture)
        if not groups and background == WantedBackground():
            self._warn("nothing that can be drawn was understood; drew a plain background")
        return ParsedPrompt(Specification(groups, relations, background), tuple(self._warnings))

    def _groups(self) -> tuple[tuple[Wanted, ...], dict[int, list[int]]]:
        """Return the groups to draw, and under the id of each noun the indices of its groups."""
        groups: list[Wanted] = []
        members: dict[int, list[int]] = {id(head): [] for head in self._heads}
        room = MAX_DRAWN
        for head in self._heads:
            for wanted in self._split(head):
                needed = 2 if wanted.count is None else wanted.count
                if needed > room:
                    self._warn(f"drew only {MAX_DRAWN} things")
                if room > 0:
                    members[id(head)].append(len(groups))
                    groups.append(replace(wanted, count=room) if needed > room else wanted)
                room -= min(room, needed)
        return tuple(groups), members

    def _split(self, head: _Draft) -> list[Wanted]:
        """Return the noun's groups: one, or with several colours ("red and blue circles") one for each of them."""
        colours: list[Colour | None] = []
        for colour in head.colours:
            if colour in THING_COLOURS:
                colours.append(colour)
            else:
                self._warn(f"only a background can be {colour}; drew another colour")
        if len(colours) > 1 and not head.plural:
            self._warn(f"one thing has one colour; drew {colours[0]}")
            colours = colours[:1]
        if head.count == 0:
            return []
        count = head.count if head.count is not None or head.plural else 1
        if len(colours) <= 1:
            return [self._wanted(head, next(iter(colours), None), count)]
        if count is None or count < len(colours):
            return [self._wanted(head, colour, 1) for colour in colours]
        shares = [(count + index) // len(colours) for index in reversed(range(len(colours)))]
        return [self._wanted(head, colour, share) for colour, share in zip(colours, shares, strict=True)]

    @staticmethod
    def _wanted(head: _Draft, colour: Colour | None, count: int | None) -> Wanted:
        return Wanted(head.shape, colour, head.texture, head.size, head.place, count)

    def _warn(self, warning: str) -> None:
        if warning not in self._warnings:
            self._warnings.append(warning)
