"""Labels: what a whole picture must show, in one canonical form that equal labels share.

none       ""                              responds to nothing in particular
mono       "red circle"                    a thing that is both
or         "circle or heart or star"       any of them
and        "red and square"                all of them, on things of the same picture
andnot     "circle and not star"           a circle, and nowhere a star
count      "at least two red things"       so many things
relation   "circle left of square"         things that stand so to each other
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Self

from maia.services.scenes.concepts import Concept
from maia.services.scenes.grammar import parse
from maia.services.scenes.scene import Relation, Shape
from maia.services.scenes.specification import MAX_DRAWN, Wanted, WantedBackground

if TYPE_CHECKING:
    from maia.services.scenes.grammar import ParsedPrompt

Form = Literal["none", "mono", "or", "and", "andnot", "count", "relation"]

NONE: Final = "none"
"""The label of a unit that responds to nothing, to everything alike, or without a pattern."""

MAX_LABEL_CHARS: Final = 500

_NUMBERS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

# What people write around a label; it says nothing about the concept itself.
_PREAMBLE: Final = re.compile(
    r"\b(?:(?:the|this) )?(?:neuron|unit|channel|feature|detector|presence|existence|images?|pictures?|photos?|scenes?|"
    r"detects?|detecting|detected|responds? to|fires? for|activate[sd]? (?:by|for|on)|selective for|shows?|showing|"
    r"containing|contains?|any|either|both|kinds? of|types? of|label|drawn|in color|in colour|of any \w+)\b"
)
_JOINTS: Final = (
    ("or", re.compile(r"\s*(?:\bor\b|/|\|)\s*")),
    ("and", re.compile(r"\s*(?:\band\b|&|\+|\bas well as\b)\s*")),
)
_RELATIVE: Final = re.compile(r"\b(?:that|which) (?:is|are)\b")
_NONE: Final = re.compile(
    r"(?:none|nothing(?: in particular)?|no (?:single |clear |specific )?(?:concept|pattern|response)|dead|constant|"
    r"(?:random )?noise)(?: \([a-z0-9. ]+\))?"
)
_NOT: Final = re.compile(
    r",?\s*(?:\b(?:and|but)\s+)?\b(?:not|no|without|except(?: for)?|unless)\b\s*(?:with\b|there (?:is|are)\b)?\s*"
)
_OF_ONE_THING: Final = re.compile(r"\b(?:(?:that|which) (?:is|are)|(?:is|are)n't) (?:not|without)\b")
_LACKING: Final = re.compile(r"\bwith(?:out| no)\b")
_COUNTED: Final = re.compile(
    rf"(?:(?P<least>at least|a minimum of|no (?:fewer|less) than)\s+|(?P<above>more than)\s+)?"
    rf"(?P<number>\d{{1,2}}|{'|'.join(_NUMBERS)}|a (?:pair|couple) of|multiple)"
    r"(?P<more>\s*\+|\s+or more|\s+and more)?\s+(?P<what>.+)"
)
_TURNED: Final = {Relation.RIGHT_OF: Relation.LEFT_OF, Relation.BELOW: Relation.ABOVE}
_DIRECT: Final = (Relation.LEFT_OF, Relation.ABOVE, Relation.INSIDE)


@dataclass(frozen=True, slots=True)
class Label:
    """What a picture must show.

    Attributes:
        form: How the concepts are put together.
        concepts: None with "none", one with "mono" and "count", two or more with "or" and "and", sorted by alphabet;
            with "andnot" what must be there and what must not, with "relation" subject and object.
        least: With "count", how many things must have the concept, 2 to 12; otherwise 1.
        relation: With "relation", LEFT_OF, ABOVE or INSIDE; otherwise None.
    """

    form: Form
    concepts: tuple[Concept, ...] = ()
    least: int = 1
    relation: Relation | None = None

    def __str__(self) -> str:
        texts = [str(concept) for concept in self.concepts]
        if self.form == "none":
            return NONE
        if self.form == "count":
            return f"at least {_NUMBERS[self.least - 1]} {_plural(self.concepts[0])}"
        joint = {"andnot": "and not", "relation": str(self.relation)}.get(self.form, self.form)
        return f" {joint} ".join(texts)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a label, in canonical form or natural phrasing.

        "Red circles." and "circular shapes that are red" are "red circle"; "stars or circles" is "circle or star";
        "circles without stars" is "circle and not star"; "2 or more circles", and "two circles", which a third does
        not make untrue, are "at least two circles"; "a square to the right of a circle" is "circle left of square".

        Raises:
            ValueError: The text is no label that the scene world knows. A size, a place, "next to", an exact number,
                "not" about one thing ("circles that are not red") and two kinds of joints are none of its.
        """
        label = cls._find(text)
        if label is None:
            raise ValueError(
                f"{text[:80]!r} is no label; write one as in 'red circle', 'circle or star', 'red and blue'"
            )
        return label

    @classmethod
    def _find(cls, text: str) -> Self | None:
        plain = _PREAMBLE.sub(" ", text[: MAX_LABEL_CHARS + 1].lower()).strip(" .!\n\t\"'*`:")
        if len(plain) > MAX_LABEL_CHARS:
            return None
        plain = " ".join(plain.split())
        if _NONE.fullmatch(plain):
            return cls("none")
        counted = _COUNTED.fullmatch(plain)
        if counted is not None:
            return cls._counted(counted)
        used = [(word, joint) for word, joint in _JOINTS if joint.search(plain)]
        if _NOT.search(plain) and _concept(plain) is None:  # "a circle with no pattern" is a concept
            return cls._and_not(plain)
        if not used or (used[0][0] == "and" and _one_thing(plain)):
            concept = _concept(plain)
            return cls("mono", (concept,)) if concept else cls._related(parse(plain))
        return cls._joined(*used[0], plain) if len(used) == 1 else None

    @classmethod
    def _joined(cls, word: str, joint: re.Pattern[str], plain: str) -> Self | None:
        read = [concept for operand in joint.split(plain) for concept in _listed(operand)]
        concepts = {concept for concept in read if concept is not None}
        if None in read:
            return None
        if len(concepts) == 1:
            return cls("mono", tuple(concepts))
        return cls("or" if word == "or" else "and", tuple(sorted(concepts, key=str)))

    @classmethod
    def _counted(cls, match: re.Match[str]) -> Self | None:
        concept = _concept(match["what"].removeprefix("of ").removeprefix("different "))
        word = match["number"]
        number = int(word) if word.isdigit() else _NUMBERS.index(word) + 1 if word in _NUMBERS else 2
        least = number + 1 if match["above"] else number
        if concept is None or not 1 <= least <= MAX_DRAWN:
            return None
        return cls("mono", (concept,)) if least == 1 else cls("count", (concept,), least)

    @classmethod
    def _and_not(cls, plain: str) -> Self | None:
        operands = _NOT.split(plain)
        if len(operands) != 2 or _OF_ONE_THING.search(plain):
            return None
        wanted, unwanted = (_concept(operand) for operand in operands)
        if wanted is None or unwanted is None or wanted == unwanted:
            return None
        if _LACKING.search(plain) and unwanted.colour is None and unwanted.shape is None:
            return None  # "circles without stripes" speaks of the circles
        return cls("andnot", (wanted, unwanted))

    @classmethod
    def _related(cls, parsed: ParsedPrompt) -> Self | None:
        said = parsed.specification
        if parsed.warnings or len(said.relations) != 1 or len(said.groups) != 2:
            return None
        stated = said.relations[0]
        pair = [Concept.of(said.groups[index]) for index in (stated.subject, stated.object)]
        if None in pair or said.background != WantedBackground():
            return None
        concepts = tuple(concept for concept in pair if concept is not None)
        if stated.relation in _TURNED:
            return cls("relation", concepts[::-1], relation=_TURNED[stated.relation])
        return cls("relation", concepts, relation=stated.relation) if stated.relation in _DIRECT else None


def canonical_label(text: str) -> str | None:
    """Return the one form in which a label is compared, or None if the text is no label that the scene world knows.

    Accepts what `Label.parse` does.
    """
    try:
        return str(Label.parse(text))
    except ValueError:
        return None


def _concept(text: str) -> Concept | None:
    try:
        return Concept.parse(text)
    except ValueError:
        return None


def _listed(operand: str) -> list[Concept | None]:
    """Return the concepts of "circles, stars": one, unless a comma parts what is not one."""
    whole = _concept(operand)
    if whole is not None or "," not in operand:
        return [whole]
    return [_concept(part) for part in operand.split(",") if part.strip()]


def _plural(concept: Concept) -> str:
    if concept.shape is None:
        return f"{concept} things"
    return f"{concept}es" if concept.shape is Shape.CROSS else f"{concept}s"


def _one_thing(text: str) -> bool:
    """Whether "and" joins attributes of one thing: "shapes that are red and striped"."""
    match = _RELATIVE.search(text)
    if match is None:
        return False
    behind = parse(text[match.end() :]).specification.groups
    return len(behind) == 1 and behind[0] == Wanted(None, behind[0].colour, behind[0].texture)
