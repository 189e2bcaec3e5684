"""The words of the scripted agent: things, concepts and hypotheses about a unit.

The agent learns its vocabulary from the system prompt, as any backbone would, and reads things out of its own prompts
and out of the describer's answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal


@dataclass(frozen=True, slots=True)
class Thing:
    """Something drawn: a value for each attribute."""

    colour: str
    texture: str
    shape: str

    def __str__(self) -> str:
        return f"{self.texture} {self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Concept:
    """What a thing may have: one value for one to three attributes."""

    colour: str | None = None
    texture: str | None = None
    shape: str | None = None

    def __str__(self) -> str:
        return " ".join(word for word in (self.colour, self.texture, self.shape) if word)

    @property
    def attributes(self) -> int:
        """How many attributes it fixes."""
        return sum(value is not None for value in (self.colour, self.texture, self.shape))

    def implies(self, other: Concept) -> bool:
        """Tell whether every thing that has it has the other, too."""
        return (
            other.colour in {None, self.colour}
            and other.texture in {None, self.texture}
            and other.shape in {None, self.shape}
        )

    def fits(self, thing: Thing) -> bool:
        """Tell whether a thing has it."""
        return (
            self.colour in {None, thing.colour}
            and self.texture in {None, thing.texture}
            and self.shape in {None, thing.shape}
        )


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a unit may respond to: one concept, either of two, or two in the same picture."""

    first: Concept
    join: Literal["or", "and"] | None = None
    second: Concept | None = None

    def __str__(self) -> str:
        if self.second is None:
            return str(self.first)
        return f" {self.join} ".join(sorted((str(self.first), str(self.second))))

    @property
    def concepts(self) -> tuple[Concept, ...]:
        """One or two."""
        return (self.first,) if self.second is None else (self.first, self.second)

    def predicts(self, things: tuple[Thing, ...]) -> bool:
        """Tell whether a picture of these things should drive the unit."""
        present = [any(concept.fits(thing) for thing in things) for concept in self.concepts]
        return all(present) if self.join == "and" else any(present)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the generator can draw, as its prompt guide lists it."""

    colours: tuple[str, ...]
    textures: tuple[str, ...]
    shapes: tuple[str, ...]

    @classmethod
    def read(cls, system_prompt: str) -> Vocabulary | None:
        """Find the lists in a system prompt; None when there are none, as with a generator of photographs."""
        lists = {name: _listed(name, system_prompt) for name in ("colours", "textures", "shapes")}
        return cls(**lists) if all(lists.values()) else None

    def concepts(self) -> list[Concept]:
        """Every concept of one or two attributes."""
        colours, textures, shapes = ((None, *values) for values in (self.colours, self.textures, self.shapes))
        every = (Concept(colour, texture, shape) for colour, texture, shape in product(colours, textures, shapes))
        return [concept for concept in every if 1 <= concept.attributes <= 2]

    def things(self, text: str) -> tuple[Thing, ...]:
        """Read the things that a text names, each ending with its shape; without a texture a thing is solid."""
        return tuple(self._things(text))

    def _things(self, text: str) -> Iterator[Thing]:
        colour, texture = "", "solid"
        for word in re.findall(r"[a-z]+", text.lower()):
            singular = word.removesuffix("s") if word not in self.shapes else word
            if word in self.colours:
                colour = word
            elif word in self.textures:
                texture = word
            elif singular in self.shapes:
                if colour:
                    yield Thing(colour, texture, singular)
                colour, texture = "", "solid"


def _listed(name: str, text: str) -> tuple[str, ...]:
    match = re.search(rf"^\W*{name}\W*:\s*(.+)$", text, re.IGNORECASE | re.MULTILINE)
    return tuple(re.findall(r"[a-z]+", match[1].lower())) if match else ()
