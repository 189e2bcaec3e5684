"""The words that prompts, edits and labels may use, and what each of them means.

`scan` turns a text into tokens. Phrases ("to the left of", "in the top right corner") become one token; every other
token is one word, looked up in lower case in the singular.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

from maia.services.scenes.scene import Colour, Relation, Shape, Size, Texture
from maia.services.scenes.specification import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Kind(Enum):
    """What a token is."""

    SHAPE = auto()  # a noun: circle, stars
    SHAPE_ADJECTIVE = auto()  # circular
    COLOUR = auto()
    TEXTURE = auto()  # an adjective: striped
    TEXTURE_NOUN = auto()  # stripes, dots
    SIZE = auto()
    COUNT = auto()
    GENERIC = auto()  # thing, shapes, ones
    BACKGROUND = auto()
    PLACE = auto()
    RELATION = auto()
    CONTAINING = auto()  # a relation the other way round: "a circle containing a star"
    ARTICLE = auto()
    LINK = auto()  # what follows describes the noun before: "that is", "with", "of"
    AND = auto()
    COMMA = auto()
    STOP = auto()
    NEGATION = auto()
    PICTURE = auto()  # the whole: photo, image
    FILLER = auto()
    UNKNOWN = auto()


Value: TypeAlias = Shape | Colour | Texture | Size | Relation | Place | int | None


@dataclass(frozen=True, slots=True)
class Token:
    """A word or phrase with its meaning.

    Attributes:
        kind: What it is.
        text: As it was written, in lower case.
        value: Its meaning, for the kinds that have one.
        plural: Whether a noun was written in the plural.
    """

    kind: Kind
    text: str
    value: Value = None
    plural: bool = False


SYNONYMS: Final[Mapping[Shape | Colour | Texture | Size, str]] = {
    Shape.CIRCLE: "disc disk ball dot spot",
    Shape.SQUARE: "box block",
    Shape.TRIANGLE: "",
    Shape.STAR: "",
    Shape.CROSS: "plus",
    Shape.RING: "donut doughnut hoop annulus",
    Shape.HEART: "",
    Shape.HEXAGON: "",
    Shape.DIAMOND: "rhombus lozenge",
    Shape.CRESCENT: "moon",
    Colour.RED: "crimson scarlet ruby reddish",
    Colour.ORANGE: "tangerine",
    Colour.YELLOW: "golden gold",
    Colour.GREEN: "emerald",
    Colour.CYAN: "turquoise teal aqua",
    Colour.BLUE: "navy azure cobalt",
    Colour.PURPLE: "violet",
    Colour.PINK: "magenta fuchsia",
    Colour.BROWN: "",
    Colour.BLACK: "",
    Colour.WHITE: "ivory",
    Colour.GREY: "gray",
    Texture.SOLID: "plain uniform blank untextured unpatterned",
    Texture.STRIPED: "stripy lined banded",
    Texture.DOTTED: "spotted speckled polkadot",
    Texture.CHECKERED: "chequered checked checkerboard chessboard",
    Size.SMALL: "little tiny smaller",
    Size.MEDIUM: "mid",
    Size.LARGE: "big huge giant larger bigger",
}
"""Further words for each value, beside its own name."""

_WORDS: Final[Mapping[Kind, str]] = {
    Kind.AND: "and or &",
    Kind.ARTICLE: "a an the some another",
    Kind.NEGATION: "no not without",
    Kind.LINK: "that which is are with of has have having coloured colored",
    Kind.CONTAINING: "containing contains surrounding surrounds enclosing encloses around",
    Kind.GENERIC: "thing object shape figure form item something anything everything",
    Kind.BACKGROUND: "background backdrop wallpaper",
    Kind.PICTURE: (
        "photo photograph picture image drawing illustration painting sketch scene canvas photos photographs pictures"
        " images drawings illustrations paintings sketches scenes"
    ),
    Kind.FILLER: (
        "there it its show showing depicting positioned placed located situated shaped sized size"
        " colour color texture textures textured pattern patterns patterned filled also very"
        " just only please each all other be being them to"
    ),
}

_SHAPE_ADJECTIVES: Final[Mapping[str, Shape]] = {
    "circular": Shape.CIRCLE,
    "round": Shape.CIRCLE,
    "triangular": Shape.TRIANGLE,
    "hexagonal": Shape.HEXAGON,
    "annular": Shape.RING,
}

_TEXTURE_NOUNS: Final[Mapping[str, Texture]] = {
    "stripe": Texture.STRIPED,
    "stripes": Texture.STRIPED,
    "dots": Texture.DOTTED,
    "spots": Texture.DOTTED,
    "polkadots": Texture.DOTTED,
    "checks": Texture.CHECKERED,
    "checkers": Texture.CHECKERED,
}

_COUNTS: Final[Mapping[str, int]] = {
    "one": 1, "single": 1, "two": 2, "pair": 2, "couple": 2, "both": 2, "three": 3, "few": 3, "four": 4, "several": 4,
    "five": 5, "six": 6, "many": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "dozen": 12,
}  # fmt: skip

_RELATIONS: Final[Mapping[Relation, str]] = {
    Relation.LEFT_OF: "(?:(?:to|on|at) )?(?:the )?left(?: hand)?(?: side)? of",
    Relation.RIGHT_OF: "(?:(?:to|on|at) )?(?:the )?right(?: hand)?(?: side)? of",
    Relation.ABOVE: "above|over|on top of|higher than|on|against",
    Relation.BELOW: "below|beneath|underneath|under|lower than",
    Relation.INSIDE: "inside of|inside|within|in the middle of|in the cent(?:re|er) of|surrounded by|enclosed by|in",
    Relation.NEXT_TO: "next to|beside|close to|adjacent to|alongside|near|by",
}

SOFT_RELATIONS: Final = frozenset({"on", "in", "over", "against", "by"})
"""Words that often relate nothing ("in red", "on a plain background"), so that nobody misses them when they do not."""

_COLUMNS: Final = {"left": 0, "right": 2, "centre": 1, "center": 1, "middle": 1}
_ROWS: Final = {"top": 0, "upper": 0, "bottom": 2, "lower": 2, "centre": 1, "center": 1, "middle": 1}
_CENTRES: Final = frozenset({"centre", "center", "middle", "centred", "centered"})

_PLACE: Final = (
    "(?:(?:on|in|at|to|near|towards?) )?(?:the )?(?:very )?"
    "(?P<first>top|upper|bottom|lower|left|right|centre|center|middle|centred|centered)"
    "(?: (?P<second>left|right|centre|center|middle))?+"
    "(?: hand)?+(?: (?:corner|side|half|edge|part|third))?+"
)
_OF_PICTURE: Final = " of (?:the|this) (?:photo|photograph|picture|image|drawing|scene|canvas|frame)"
_END: Final = "(?= |$)"

_SPLIT: Final = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|&|[,:()]|[.!?;\n]")
_PHRASE: Final = re.compile(
    f"(?P<place>{_PLACE}(?:{_OF_PICTURE})?+)(?! of ){_END}"
    + "".join(f"|(?P<{relation.name}>{words}){_END}" for relation, words in _RELATIONS.items())
    + "|(?P<word>[^ ]+)"
)


def scan(text: str) -> list[Token]:
    """Return the tokens of a text, in time proportional to its length. Hyphens separate words."""
    lowered = text.lower().replace("polka-dot", "polkadot").replace("polka dot", "polkadot")
    tokens = [_token(match) for match in _PHRASE.finditer(" ".join(_SPLIT.findall(lowered)))]
    for index, following in enumerate(tokens[1:]):
        if following.text == "shaped" and tokens[index].kind is Kind.SHAPE:  # "a star-shaped red object"
            tokens[index] = Token(Kind.SHAPE_ADJECTIVE, tokens[index].text, tokens[index].value)
    return tokens


def _token(match: re.Match[str]) -> Token:
    text = match.group()
    name = match.lastgroup
    if name == "word":
        return _word_token(text)
    if name == "place":
        return Token(Kind.PLACE, text, _place(match["first"], match["second"]))
    return Token(Kind.RELATION, text, Relation[str(name)])


def _place(first: str, second: str | None) -> Place:
    if second is None:
        if first in _CENTRES:
            return Place.CENTRE
        return Place((_COLUMNS[first], None)) if first in _COLUMNS else Place((None, _ROWS[first]))
    if first in {"left", "right"}:
        return Place((_COLUMNS[first], None))
    if first not in _ROWS:
        return Place.CENTRE
    return Place((_COLUMNS[second], _ROWS[first]))


def _word_token(word: str) -> Token:
    known = _dictionary()
    if word in known:
        return known[word]
    if word.isdigit():
        return Token(Kind.COUNT, word, min(int(word[:4]), 1000))
    for ending in ("es", "s"):
        singular = known.get(word.removesuffix(ending)) if word.endswith(ending) else None
        if singular is not None and singular.kind in {Kind.SHAPE, Kind.GENERIC, Kind.BACKGROUND}:
            return Token(singular.kind, word, singular.value, plural=True)
    return Token(Kind.UNKNOWN, word)


@cache
def _dictionary() -> dict[str, Token]:
    """Return the meaning of every known word, plurals left out."""
    table: dict[str, Token] = {}

    def enter(kind: Kind, words: Iterable[str], value: Value = None) -> None:
        for word in words:
            table[word] = Token(kind, word, value)

    kinds = {Shape: Kind.SHAPE, Colour: Kind.COLOUR, Texture: Kind.TEXTURE, Size: Kind.SIZE}
    for meaning, words in SYNONYMS.items():
        enter(kinds[type(meaning)], [meaning.value, *words.split()], meaning)
    for kind, text in _WORDS.items():
        enter(kind, text.split())
    for shape_word, shape in _SHAPE_ADJECTIVES.items():
        enter(Kind.SHAPE_ADJECTIVE, [shape_word], shape)
    for texture_word, texture in _TEXTURE_NOUNS.items():
        enter(Kind.TEXTURE_NOUN, [texture_word], texture)
    for count_word, count in _COUNTS.items():
        enter(Kind.COUNT, [count_word], count)
    enter(Kind.GENERIC, ["ones"])
    enter(Kind.COMMA, [",", ":", "(", ")"])
    enter(Kind.STOP, [".", "!", "?", ";"])
    return table
