"""Tokens → nouns with what is said about them.

The parser walks once over the tokens and never looks back. Attributes wait in a draft until a noun takes them ("red" …
"circle"); behind a link ("that is", "with") they describe the noun before. An unknown word between an attribute and the
end of its phrase means that the attribute belonged to something unknown ("a red dog"), so both are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, cast

from maia.services.scenes.scene import Colour, Relation, Shape, Size, Texture
from maia.services.scenes.words import SOFT_RELATIONS, Kind, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from maia.services.scenes.specification import Place

_NOUNS: Final = frozenset({Kind.SHAPE, Kind.GENERIC, Kind.BACKGROUND, Kind.TEXTURE_NOUN})
_PHRASE_ENDS: Final = frozenset({
    Kind.AND, Kind.COMMA, Kind.STOP, Kind.RELATION, Kind.CONTAINING, Kind.PLACE, Kind.LINK, Kind.NEGATION,
})  # fmt: skip
_ON: Final = frozenset({"on", "over", "against"})
_NO_TEXTURE: Final = frozenset({"no", "without", "any", "texture", "textures", "pattern", "patterns"})
_PLACE_LEADS: Final = frozenset({"on", "in", "at", "to", "near", "toward", "towards", "the"})


@dataclass(slots=True, eq=False)
class Noun:
    """A thing, or several alike, or the background, and what was said about it; a draft until its noun has come.

    Attributes:
        shape: Or None while it is not known.
        colours: In the order in which they were said; more than one for "red and blue circles".
        texture: As said.
        size: As said.
        place: As said.
        count: As said; "circles" alone has none.
        plural: Whether the noun was in the plural.
        words: The attributes as they were written, for the warning if they are dropped.
        unknown: Words that nobody knows.
        linked: Whether it describes the noun before it.
        opened: Whether an article or a number began it.
        definite: Whether that was "the", so that it may mean a thing named before.
        one_of: Whether it may be one of the things before it ("two stars, one red"), unless a noun follows.
        everyone: Whether it speaks of all things before it ("both striped"), unless a noun of its own follows.
    """

    shape: Shape | None = None
    colours: list[Colour] = field(default_factory=list)
    texture: Texture | None = None
    size: Size | None = None
    place: Place | None = None
    count: int | None = None
    plural: bool = False
    words: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    linked: bool = False
    opened: bool = False
    definite: bool = False
    one_of: bool = False
    everyone: bool = False

    def may_be(self, other: Noun) -> bool:
        """Whether what is said of this thing holds for another, so that both may be the same."""
        return (
            self.shape is other.shape
            and self.count is None
            and self.plural == other.plural
            and set(self.colours) <= set(other.colours)
            and self.texture in {None, other.texture}
            and self.size in {None, other.size}
            and self.place is None
        )

    @property
    def described(self) -> bool:
        """Whether any attribute was said."""
        return bool(self.shape or self.colours or self.texture or self.size)


@dataclass(frozen=True, slots=True)
class Phrases:
    """What a text says.

    Attributes:
        things: Every noun that can be drawn, in order.
        background: What was said about the background.
        relations: Subject, relation and object, the nouns being members of `things`.
        ignored: The words and phrases that mean nothing here, in order.
    """

    things: Sequence[Noun]
    background: Noun
    relations: Sequence[tuple[Noun, Relation, Noun]]
    ignored: Sequence[str]


def read_phrases(tokens: Sequence[Token]) -> Phrases:
    """Return what the tokens of a text say. Takes time proportional to their number, and raises nothing."""
    return _Parser().run(tokens)


class _Parser:
    def __init__(self) -> None:
        self._things: list[Noun] = []
        self._background = Noun()
        self._last: Noun | None = None  # what a link describes: the noun before it in the sentence
        self._draft = Noun()
        self._relations: list[tuple[Noun, Relation, Noun]] = []
        self._pending: tuple[Noun, Token] | None = None  # a relation that waits for its object
        self._marks: Texture | None = None  # "stripes on" what comes next
        self._places_lead = False  # "on the left a circle", not "a circle on the left"
        self._negated: list[str] | None = None
        self._previous = Kind.STOP
        self._ignored: list[str] = []
        steps: dict[Callable[[Token], None], tuple[Kind, ...]] = {
            self._noun: (Kind.SHAPE,),
            self._generic_noun: (Kind.GENERIC,),
            self._background_noun: (Kind.BACKGROUND,),
            self._attribute: (Kind.COLOUR, Kind.TEXTURE, Kind.SIZE, Kind.SHAPE_ADJECTIVE),
            self._texture_noun: (Kind.TEXTURE_NOUN,),
            self._open: (Kind.ARTICLE, Kind.COUNT),
            self._place: (Kind.PLACE,),
            self._relation: (Kind.RELATION, Kind.CONTAINING),
            self._link: (Kind.LINK,),
            self._boundary: (Kind.AND, Kind.COMMA, Kind.STOP),
            self._begin_negation: (Kind.NEGATION,),
            self._picture: (Kind.PICTURE,),
            self._unknown: (Kind.UNKNOWN,),
        }
        self._steps: Mapping[Kind, Callable[[Token], None]] = {
            kind: step for step, kinds in steps.items() for kind in kinds
        }

    def run(self, tokens: Sequence[Token]) -> Phrases:
        for token in (*tokens, Token(Kind.STOP, "")):
            if self._negate(token):
                continue
            if token.kind is Kind.FILLER:
                self._filler(token)
                continue
            self._steps[token.kind](token)
            self._previous = token.kind
        return Phrases(self._things, self._background, self._relations, self._ignored)

    @property
    def _last_thing(self) -> Noun | None:
        return None if self._last is self._background else self._last

    def _noun(self, token: Token) -> None:
        draft, last = self._draft, self._last_thing
        if self._previous is Kind.SHAPE and last is not None and last.shape is token.value:
            return  # "crescent moon"
        draft.shape = cast(Shape, token.value)
        draft.plural = token.plural
        if draft.linked and not draft.opened and last is not None and last.shape is None:
            self._describe(last)  # "things that are circles"
        else:
            self._finish()

    def _generic_noun(self, token: Token) -> None:
        draft, last = self._draft, self._last_thing
        if self._previous is Kind.SHAPE and last is not None:
            last.plural = token.plural  # "square shapes"
        elif draft.unknown and not (draft.described or draft.opened or draft.linked):
            return  # "dog shapes"
        elif token.text == "ones":
            draft.plural = True
            self._pronoun()
        else:
            draft.plural = token.plural
            self._finish()

    def _pronoun(self) -> None:
        """Finish "a green one": it has the shape of the thing before it, or any."""
        if self._last_thing is not None:
            self._draft.shape = self._draft.shape or self._last_thing.shape
        self._finish()

    def _finish(self) -> None:
        """Make the draft a thing, to which everything that follows refers."""
        draft = self._draft
        self._ignored += draft.unknown
        subject = self._pending[0] if self._pending is not None else None
        meant = [thing for thing in self._things if draft.may_be(thing) and thing is not subject]
        if draft.definite and len(meant) == 1:
            draft = meant[0]  # "a circle and a star; the star is striped"
        else:
            self._things.append(draft)
        draft.texture, self._marks = draft.texture or self._marks, None
        if self._pending is not None:
            self._relate(*self._pending, draft)
        self._pending = None
        self._last = draft
        self._draft = Noun()

    def _background_noun(self, _token: Token) -> None:
        if self._pending is not None and self._pending[1].text not in SOFT_RELATIONS:
            self._ignored.append(self._pending[1].text)
        self._pending = None
        self._last = self._background
        self._draft.texture, self._marks = self._draft.texture or self._marks, None
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
        if token.text in {"dots", "spots"} and not draft.linked and self._last is not self._background:
            self._noun(Token(Kind.SHAPE, token.text, Shape.CIRCLE, plural=True))  # "three red dots"
            return
        draft.texture = cast(Texture, token.value)
        draft.words.append(token.text)
        if not draft.linked or self._last is None:
            return
        if self._last_thing is not None:  # the marks on things are white anyhow
            draft.colours = [colour for colour in draft.colours if colour is not Colour.WHITE]
        self._describe(self._last)

    def _open(self, token: Token) -> None:
        if token.text == "one" and self._draft.described and self._previous not in {Kind.AND, Kind.COMMA}:
            self._pronoun()
            return
        if self._draft.described or self._draft.unknown:
            self._close()
        draft = self._draft
        if draft.everyone and token.kind is Kind.ARTICLE:  # "both a circle and a star"
            draft.everyone, draft.count = False, None
        draft.opened = True
        draft.definite = token.text == "the"
        if token.kind is Kind.COUNT:
            draft.count = cast(int, token.value)
            draft.everyone = token.text == "both"
            draft.one_of = token.text == "one" and self._last_thing is not None and self._last_thing.plural

    def _filler(self, token: Token) -> None:
        if token.text in {"all", "each"} and not self._draft.described:
            self._draft.everyone = True
        elif token.text == "them" and self._draft.count is not None:
            self._draft.unknown.append("of them")  # "one of them striped": nobody knows which

    def _picture(self, _token: Token) -> None:
        """What was said of the picture as a whole ("a plain grey image") is said of its background."""
        draft = self._draft
        if draft.shape is None and draft.described and not draft.unknown:
            if draft.size is not None:
                self._ignored.append(draft.size)
            self._describe(self._background)
            self._draft = Noun()

    def _place(self, token: Token) -> None:
        place = cast("Place", token.value)
        bare = token.text.split()[0] not in _PLACE_LEADS
        if self._draft.opened and (bare or self._draft.described):
            self._draft.place = place  # "a top left circle"
            return
        self._close()
        if self._last_thing is not None and not self._places_lead:
            self._last_thing.place = place
        else:
            self._places_lead = True
            self._draft.place = place

    def _relation(self, token: Token) -> None:
        if token.text in _ON and self._previous is Kind.TEXTURE_NOUN and self._draft.texture and not self._draft.shape:
            self._marks, self._draft = self._draft.texture, Noun()  # "stripes on a square"
            return
        scattered = token.text == "around" and self._previous is Kind.UNKNOWN
        self._close()
        if scattered:
            self._ignored.append(token.text)
            return
        subject = self._last_thing
        if self._previous is Kind.AND and self._relations:  # "above the star and left of the ring"
            subject = self._relations[-1][0]
        if token.text == "in":
            self._draft.linked = True  # "a circle in red"
        if subject is not None:
            self._pending = (subject, token)
        elif token.text not in SOFT_RELATIONS:
            self._ignored.append(token.text)

    def _link(self, token: Token) -> None:
        if token.text == "of" and self._draft.count is not None and not self._draft.described:
            return  # "a pair of"
        self._close()
        self._draft.linked = True

    def _boundary(self, token: Token) -> None:
        draft = self._draft
        if draft.described and not draft.unknown:
            if token.kind is Kind.AND:
                return  # "red and blue circles", "that is red and striped"
            if token.kind is Kind.COMMA and not draft.linked:
                return  # "large, red circle"
        last = self._last_thing
        related = any(last in (subject, other) for subject, _, other in self._relations)
        if token.text == ":" and self._previous is Kind.GENERIC and last and not (last.described or related):
            self._things.remove(last)  # "three shapes: a circle, …"
            self._last = None
        behind = self._previous in {Kind.SHAPE, Kind.GENERIC, Kind.BACKGROUND} or (draft.linked and draft.described)
        self._close()
        self._drop_relation()
        self._draft.linked = token.kind is Kind.COMMA and behind  # "a heart (pink, small)"
        if token.kind is Kind.STOP:
            self._last = self._marks = None
            self._draft = Noun()

    def _begin_negation(self, token: Token) -> None:
        self._negated = [token.text]

    def _negate(self, token: Token) -> bool:
        """Collect what is negated, up to its noun or the end of its phrase; return whether the token was part of it."""
        if self._negated is None:
            return False
        inside = token.kind not in _PHRASE_ENDS
        if inside:
            self._negated.append(token.text)
        if not inside or token.kind in _NOUNS:
            if self._last is not None and _NO_TEXTURE.issuperset(self._negated):
                self._last.texture = self._last.texture or Texture.SOLID
            else:
                self._ignored.append(" ".join(self._negated))
            self._negated = None
        return inside

    def _unknown(self, token: Token) -> None:
        self._draft.unknown.append(token.text)

    def _close(self) -> None:
        """End the draft without a noun: it describes the noun before, is a thing by itself ("red"), or is dropped."""
        draft = self._draft
        if draft.unknown:
            self._ignored.append(" ".join([*draft.words, *draft.unknown]))
            self._pending = None
        elif draft.described and draft.one_of:
            self._ignored.append(" ".join(["one", *draft.words]))
        elif draft.described and draft.everyone and self._things:
            for thing in self._things:
                self._draft = replace(draft, unknown=[])
                self._describe(thing)
            return
        elif draft.described and self._pending is not None and self._pending[1].text in _ON and not draft.linked:
            self._describe(self._background)  # "a circle on white"
            return
        elif draft.described and draft.linked and self._last is not None:
            self._describe(self._last)
            return
        elif draft.described:
            self._finish()
            return
        self._draft = Noun(place=draft.place)

    def _describe(self, noun: Noun) -> None:
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
        self._draft = Noun(linked=noun is self._background)  # "the background is": "is" may be left out

    def _drop_relation(self) -> None:
        """Resolve a relation without object: "a circle with a star inside" relates the two nouns before it."""
        if self._pending is None:
            return
        subject, token = self._pending
        before = [thing for thing in self._things[-2:] if thing is not subject]
        if token.text not in SOFT_RELATIONS and before:
            self._relate(subject, token, before[-1])
        elif token.text not in SOFT_RELATIONS:
            self._ignored.append(token.text)
        self._pending = None

    def _relate(self, subject: Noun, token: Token, other: Noun) -> None:
        if token.kind is Kind.CONTAINING:
            self._relations.append((other, Relation.INSIDE, subject))
        else:
            self._relations.append((subject, cast(Relation, token.value), other))
