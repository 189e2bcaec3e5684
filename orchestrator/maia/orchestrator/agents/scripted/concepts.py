"""The words of the scripted agent: things, pictures of them, concepts, and the vocabulary.

The agent learns its vocabulary from the system prompt, as any backbone would, and reads pictures out of its own prompts
and out of the describer's answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

ARRANGEMENTS: Final = ("left of", "above", "inside")
"""The relations that the agent experiments with; "right of" and "below" are the first two, said from the other side."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something drawn: a value for each attribute."""

    colour: str
    texture: str
    shape: str

    def __str__(self) -> str:
        return f"{self.texture} {self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Picture:
    """What is on a picture, as far as the agent knows.

    Attributes:
        things: All of them.
        relation: One of ARRANGEMENTS, in which the first thing stands to the second; None where nobody said.
    """

    things: tuple[Thing, ...]
    relation: str | None = None

    def __str__(self) -> str:
        # Of one size, so that activations do not differ by it; but what holds another thing must be large.
        size = "" if self.relation == "inside" else "medium "
        return f" {self.relation or 'and'} ".join(f"a {size}{thing}" for thing in self.things)


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
class Vocabulary:
    """What the generator can draw, as its prompt guide lists it.

    Attributes:
        colours: Of things.
        textures: Of things.
        shapes: Of things.
        relations: Those of ARRANGEMENTS that it lists.
    """

    colours: tuple[str, ...]
    textures: tuple[str, ...]
    shapes: tuple[str, ...]
    relations: tuple[str, ...] = ()

    @classmethod
    def read(cls, system_prompt: str) -> Vocabulary | None:
        """Find the lists in a system prompt; None when there are none, as with a generator of photographs."""
        colours, textures, shapes = (_listed(name, system_prompt) for name in ("colours", "textures", "shapes"))
        listed = _listed("relations", system_prompt)
        if not (colours and textures and shapes):
            return None
        return cls(colours, textures, shapes, tuple(relation for relation in ARRANGEMENTS if relation in listed))

    def concepts(self) -> list[Concept]:
        """Every concept of one or two attributes."""
        colours, textures, shapes = ((None, *values) for values in (self.colours, self.textures, self.shapes))
        every = (Concept(colour, texture, shape) for colour, texture, shape in product(colours, textures, shapes))
        return [concept for concept in every if 1 <= concept.attributes <= 2]

    def picture(self, text: str) -> Picture:
        """Read the things that a text names, each ending with its shape, and how two of them stand to each other.

        Without a texture a thing is solid.
        """
        things = tuple(self._things(text))
        named = (relation for relation in self.relations if f" {relation} " in text.lower())
        return Picture(things, next(named, None) if len(things) == 2 else None)

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
    return tuple(" ".join(entry.split()) for entry in re.findall(r"[a-z ]+", match[1].lower())) if match else ()
