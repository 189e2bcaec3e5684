"""What a prompt asks for: a scene with everything left open that was not said. `compose` makes scenes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maia.services.scenes.scene import Colour, Relation, Shape, Size, Texture

MAX_DRAWN: Final = 12
"""At most so many things are drawn for one prompt."""

THIRDS: Final = ((0.0, 0.38), (0.38, 0.62), (0.62, 1.0))
"""Where the columns, and the rows, of the grid begin and end."""


class Place(Enum):
    """A part of the picture: the column and row of a grid of three by three, None where it was not said."""

    LEFT = (0, None)
    RIGHT = (2, None)
    TOP = (None, 0)
    BOTTOM = (None, 2)
    CENTRE = (1, 1)
    TOP_LEFT = (0, 0)
    TOP_CENTRE = (1, 0)
    TOP_RIGHT = (2, 0)
    CENTRE_LEFT = (0, 1)
    CENTRE_RIGHT = (2, 1)
    BOTTOM_LEFT = (0, 2)
    BOTTOM_CENTRE = (1, 2)
    BOTTOM_RIGHT = (2, 2)

    @property
    def column(self) -> int | None:
        """0 left, 1 centre, 2 right."""
        column: int | None = self.value[0]
        return column

    @property
    def row(self) -> int | None:
        """0 top, 1 centre, 2 bottom."""
        row: int | None = self.value[1]
        return row

    def holds(self, x: float, y: float) -> bool:
        """Whether a point, given as shares of width and height, lies in it."""
        return all(
            part is None or THIRDS[part][0] <= share <= THIRDS[part][1]
            for part, share in ((self.column, x), (self.row, y))
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Things of one kind; None leaves an attribute to chance, for each of them anew.

    Attributes:
        shape: Or any.
        colour: One of THING_COLOURS, or any.
        texture: Or any.
        size: Or any.
        place: Where they shall stand, or anywhere.
        count: How many, 1 to MAX_DRAWN; None is an open plural, two to four.
    """

    shape: Shape | None = None
    colour: Colour | None = None
    texture: Texture | None = None
    size: Size | None = None
    place: Place | None = None
    count: int | None = 1


@dataclass(frozen=True, slots=True)
class WantedBackground:
    """The background; None leaves the colour to chance among neutral ones, and the texture plain."""

    colour: Colour | None = None
    texture: Texture | None = None


@dataclass(frozen=True, slots=True)
class WantedRelation:
    """Every thing of group `subject` stands so to every thing of group `object`; both index Specification.groups."""

    subject: int
    relation: Relation
    object: int


@dataclass(frozen=True, slots=True)
class Specification:
    """Everything that a prompt says about a scene; empty, it describes a plain background."""

    groups: tuple[Wanted, ...] = ()
    relations: tuple[WantedRelation, ...] = ()
    background: WantedBackground = field(default_factory=WantedBackground)
