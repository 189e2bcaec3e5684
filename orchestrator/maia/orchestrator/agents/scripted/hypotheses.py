"""What a unit may respond to, as the scripted agent thinks of it, and what each hypothesis predicts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Literal

from maia.orchestrator.agents.scripted.concepts import Concept, Picture, Vocabulary

Form = Literal["mono", "or", "and", "andnot", "count", "relation"]

MOST_COUNTED: Final = 3
"""The agent asks whether a unit wants up to so many things of a kind."""

_NUMBERS: Final = ("one", "two", "three", "four")


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a unit may respond to.

    Attributes:
        concepts: With "mono" and "count" one, with "or" any of two or three, with "and" all of two in the same picture,
            with "andnot" what must be there and what must not, with "relation" subject and object.
        form: How they are put together.
        least: With "count", how many things must have the concept.
        relation: With "relation", one of ARRANGEMENTS.
    """

    concepts: tuple[Concept, ...]
    form: Form = "mono"
    least: int = 1
    relation: str | None = None

    def __str__(self) -> str:
        texts = [str(concept) for concept in self.concepts]
        match self.form:
            case "count":
                return f"at least {_NUMBERS[self.least - 1]} {_plural(self.concepts[0])}"
            case "andnot":
                return " and not ".join(texts)
            case "relation":
                return f" {self.relation} ".join(texts)
            case _:
                return f" {self.form} ".join(sorted(texts))

    def predicts(self, picture: Picture) -> bool:
        """Tell whether a picture should drive the unit; where the arrangement is not known, whether it may."""
        first, *others = (sum(concept.fits(thing) for thing in picture.things) for concept in self.concepts)
        match self.form:
            case "count":
                return first >= self.least
            case "and":
                return first > 0 and all(others)
            case "andnot":
                return first > 0 and not any(others)
            case "relation":
                return self._may_stand(picture)
            case _:
                return first > 0 or any(others)

    def _may_stand(self, picture: Picture) -> bool:
        pairs = [
            (one, two)
            for one, subject in enumerate(picture.things)
            for two, other in enumerate(picture.things)
            if one != two and self.concepts[0].fits(subject) and self.concepts[1].fits(other)
        ]
        if picture.relation is None:
            return bool(pairs)
        return picture.relation == self.relation and (0, 1) in pairs


def rivals(vocabulary: Vocabulary, hypothesis: Hypothesis) -> Iterator[Hypothesis]:
    """Say what else a unit may respond to that looks like a hypothesis until pictures are made to tell them apart.

    One concept may be spoilt by another, or be wanted several times; two together may be wanted in an arrangement.
    """
    concepts = hypothesis.concepts
    if hypothesis.form in ("mono", "andnot", "count"):
        yield Hypothesis(concepts[:1])
        yield from (Hypothesis(concepts[:1], "count", least) for least in range(2, MOST_COUNTED + 1))
        for single in (concept for concept in vocabulary.concepts() if concept.attributes == 1):
            if not concepts[0].implies(single):
                yield Hypothesis((concepts[0], single), "andnot")
    elif hypothesis.form in ("and", "relation"):
        for one, two in product(*map(_wider, concepts)):
            yield Hypothesis((one, two), "and")
            for pair in ((one, two), (two, one)):
                yield from (Hypothesis(pair, "relation", relation=relation) for relation in vocabulary.relations)


def _wider(concept: Concept) -> Iterator[Concept]:
    """Yield a concept, and what is left of it without one of its attributes."""
    yield concept
    if concept.attributes > 1:
        for name in ("colour", "texture", "shape"):
            if getattr(concept, name) is not None:
                yield replace(concept, **{name: None})


def _plural(concept: Concept) -> str:
    if concept.shape is None:
        return f"{concept} things"
    return f"{concept}es" if concept.shape.endswith("s") else f"{concept}s"
