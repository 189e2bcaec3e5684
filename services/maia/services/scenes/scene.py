"""The values of the scene world, and their JSON form.

A `Scene` is all there is to a picture: the renderer adds nothing of its own. Its JSON form travels inside PNG files,
which anyone may have written, so `Scene.from_json` trusts nothing.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = 1
MAX_THINGS: Final = 16
MAX_JSON_CHARS: Final = 8192  # 16 things take about 3,000

MIN_RADIUS: Final = 0.02
MAX_RADIUS: Final = 0.5


class SceneError(ValueError):
    """A scene, or the text of one, is not valid; the message says what and which value."""


class Shape(StrEnum):
    """The outline of a thing."""

    CIRCLE = "circle"
    SQUARE = "square"
    TRIANGLE = "triangle"
    STAR = "star"
    CROSS = "cross"
    RING = "ring"
    HEART = "heart"
    HEXAGON = "hexagon"
    DIAMOND = "diamond"
    CRESCENT = "crescent"


class Colour(StrEnum):
    """A colour name. White and grey colour backgrounds only: `THING_COLOURS` are those that a thing may have."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    CYAN = "cyan"
    BLUE = "blue"
    PURPLE = "purple"
    PINK = "pink"
    BROWN = "brown"
    BLACK = "black"
    WHITE = "white"
    GREY = "grey"


THING_COLOURS: Final = tuple(colour for colour in Colour if colour not in {Colour.WHITE, Colour.GREY})


class Texture(StrEnum):
    """How a surface is filled. Things carry their pattern in white, backgrounds in a second tone of their colour."""

    SOLID = "solid"
    STRIPED = "striped"
    DOTTED = "dotted"
    CHECKERED = "checkered"


class Size(StrEnum):
    """A class of radii; see `size_of` and `RADII`."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Relation(StrEnum):
    """How one thing stands to another: subject, relation, object ("circle", LEFT_OF, "square")."""

    LEFT_OF = "left of"
    RIGHT_OF = "right of"
    ABOVE = "above"
    BELOW = "below"
    INSIDE = "inside"
    NEXT_TO = "next to"


RADII: Final[Mapping[Size, tuple[float, float]]] = {
    Size.SMALL: (0.076, 0.094),
    Size.MEDIUM: (0.112, 0.138),
    Size.LARGE: (0.166, 0.200),
}
"""The radii that are drawn for a size, as shares of the picture's shorter side; the gaps keep the classes apart."""


def size_of(radius: float) -> Size:
    """Return the size class of a radius, given as a share of the picture's shorter side."""
    if radius < 0.103:
        return Size.SMALL
    return Size.MEDIUM if radius < 0.152 else Size.LARGE


@dataclass(frozen=True, slots=True)
class Thing:
    """One shape on a picture.

    Attributes:
        shape: Its outline.
        colour: One of `THING_COLOURS`.
        texture: Its fill; a pattern is white on the colour, inside a rim of the colour.
        x: Centre of area, 0 (left) to 1 (right), as a share of the picture's width.
        y: The same from 0 (top) to 1 (bottom), as a share of its height.
        radius: A share of the shorter side, MIN_RADIUS to MAX_RADIUS; the radius of a circle, and for other shapes a
            size at which they look about as large (their corners reach up to 1.25 times as far).
        rotation: Degrees clockwise, 0 ≤ rotation < 360; the pattern turns with the outline.
    """

    shape: Shape
    colour: Colour
    texture: Texture
    x: float
    y: float
    radius: float
    rotation: float = 0.0

    def __post_init__(self) -> None:
        if self.colour not in THING_COLOURS:
            raise SceneError(f"a thing cannot be {self.colour}; use one of {', '.join(THING_COLOURS)}")
        _check_range("x", self.x, 0.0, 1.0)
        _check_range("y", self.y, 0.0, 1.0)
        _check_range("radius", self.radius, MIN_RADIUS, MAX_RADIUS)
        _check_angle("rotation", self.rotation)

    @property
    def size(self) -> Size:
        """The size class of the radius."""
        return size_of(self.radius)

    def to_dict(self) -> dict[str, Any]:
        """Return a value that JSON can hold; `from_dict` reads it."""
        return {
            "shape": self.shape.value,
            "colour": self.colour.value,
            "texture": self.texture.value,
            "x": self.x,
            "y": self.y,
            "radius": self.radius,
            "rotation": self.rotation,
        }

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            SceneError: A field is missing, unknown, of the wrong type or out of range.
        """
        fields = _fields(value, "thing", ("shape", "colour", "texture", "x", "y", "radius", "rotation"))
        return cls(
            shape=_member(Shape, fields["shape"]),
            colour=_member(Colour, fields["colour"]),
            texture=_member(Texture, fields["texture"]),
            x=_number("x", fields["x"]),
            y=_number("y", fields["y"]),
            radius=_number("radius", fields["radius"]),
            rotation=_number("rotation", fields["rotation"]),
        )


@dataclass(frozen=True, slots=True)
class Background:
    """What lies behind the things.

    Attributes:
        colour: Any colour; backgrounds are drawn in pale tones, so a red thing on red stays visible.
        texture: SOLID is a plain background.
        shade: -1 (darker) to 1 (lighter); a slight variation that never changes the colour's name.
        angle: Degrees by which a pattern is turned, 0 ≤ angle < 360.
    """

    colour: Colour = Colour.GREY
    texture: Texture = Texture.SOLID
    shade: float = 0.0
    angle: float = 0.0

    def __post_init__(self) -> None:
        _check_range("shade", self.shade, -1.0, 1.0)
        _check_angle("angle", self.angle)

    def to_dict(self) -> dict[str, Any]:
        """Return a value that JSON can hold; `from_dict` reads it."""
        return {
            "colour": self.colour.value,
            "texture": self.texture.value,
            "shade": self.shade,
            "angle": self.angle,
        }

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            SceneError: A field is missing, unknown, of the wrong type or out of range.
        """
        fields = _fields(value, "background", ("colour", "texture", "shade", "angle"))
        return cls(
            colour=_member(Colour, fields["colour"]),
            texture=_member(Texture, fields["texture"]),
            shade=_number("shade", fields["shade"]),
            angle=_number("angle", fields["angle"]),
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """A background and at most MAX_THINGS things, drawn in their order: later ones lie on top."""

    background: Background = field(default_factory=Background)
    things: tuple[Thing, ...] = ()

    def __post_init__(self) -> None:
        if len(self.things) > MAX_THINGS:
            raise SceneError(f"{len(self.things)} things in a scene; at most {MAX_THINGS}")

    def to_json(self) -> str:
        """Return the scene as one line of ASCII JSON; `from_json` restores an equal scene."""
        value = {
            "version": VERSION,
            "background": self.background.to_dict(),
            "things": [thing.to_dict() for thing in self.things],
        }
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote, from any source.

        Raises:
            SceneError: The text is too long, not JSON, of another version, or not exactly a scene.
        """
        if len(text) > MAX_JSON_CHARS:
            raise SceneError(f"the scene text has {len(text)} characters; at most {MAX_JSON_CHARS}")
        try:
            value = json.loads(text, object_pairs_hook=_unique_pairs)
        except SceneError:
            raise
        except (ValueError, RecursionError) as error:
            raise SceneError(f"the scene text is not JSON: {type(error).__name__}") from error
        if isinstance(value, dict) and value.get("version") != VERSION:
            raise SceneError(f"the scene text has version {value.get('version')!r:.40}; this reader knows {VERSION}")
        fields = _fields(value, "scene", ("version", "background", "things"))
        things = fields["things"]
        if not isinstance(things, list):
            raise SceneError("a scene's things must be a list")
        return cls(Background.from_dict(fields["background"]), tuple(Thing.from_dict(thing) for thing in things))


_Member = TypeVar("_Member", bound=StrEnum)


def _member(kind: type[_Member], value: object) -> _Member:
    if isinstance(value, str):
        try:
            return kind(value)
        except ValueError:
            pass
    raise SceneError(f"{kind.__name__.lower()} is {value!r:.40}; use one of {', '.join(kind)}")


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SceneError(f"{name} is {value!r:.40}; use a number")
    try:
        return float(value)
    except OverflowError as error:
        raise SceneError(f"{name} is too large for a number") from error


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise SceneError(f"{name} is {value}; use {low} to {high}")


def _check_angle(name: str, value: float) -> None:
    if not (math.isfinite(value) and 0.0 <= value < 360.0):
        raise SceneError(f"{name} is {value}; use degrees from 0 up to, not including, 360")


def _fields(value: object, what: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SceneError(f"a {what} must be a JSON object")
    wrong = set(names) ^ set(value)
    if wrong:
        raise SceneError(f"a {what} has exactly the fields {', '.join(names)}; check {min(wrong)!r:.40}")
    return value


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise SceneError("the scene text names a field twice")
    return value
