"""Specification and seed → a concrete scene. What was not said is left to chance, and chance to the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

from maia.services.scenes.layout import Constraint, Disc, Footprint, arrange
from maia.services.scenes.render import HALO
from maia.services.scenes.scene import (
    MIN_RADIUS,
    RADII,
    THING_COLOURS,
    Background,
    Colour,
    Relation,
    Scene,
    Shape,
    Size,
    Texture,
    Thing,
)
from maia.services.scenes.shapes import HOLE_BAND, outline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from maia.services.scenes.specification import Specification, Wanted, WantedBackground

_CONTAINER_RADII: Final = (0.24, 0.30)  # of a thing that another one stands in, when its size was left open
_TILT: Final = 30.0  # degrees to either side
_POCKET_USE: Final = 0.72  # of the room in a shape; the rest shows what is around

_Option = TypeVar("_Option")


@dataclass(slots=True)
class _Item:
    """One thing while its scene is being composed."""

    wanted: Wanted
    shape: Shape
    colour: Colour
    texture: Texture
    rotation: float
    radius: float = 0.0
    x: float = 0.5
    y: float = 0.5
    container: _Item | None = None
    contents: list[_Item] = field(default_factory=list)

    @property
    def root(self) -> _Item:
        return self if self.container is None else self.container.root

    def thing(self) -> Thing:
        x, y = (min(1.0, max(0.0, round(value, 4))) for value in (self.x, self.y))
        radius = max(MIN_RADIUS, round(self.radius, 4))
        return Thing(self.shape, self.colour, self.texture, x, y, radius, round(self.rotation, 2) % 360.0)


def compose(specification: Specification, seed: int) -> tuple[Scene, tuple[str, ...]]:
    """Make a scene that is as specified.

    Args:
        specification: What to draw.
        seed: Any integer; the same specification and seed give the same scene, others visibly another.

    Returns:
        The scene, and warnings about what did not fit. Things stand apart unless one is inside another.
    """
    rng = np.random.Generator(np.random.PCG64(seed % 2**64))
    background = _background(specification.background, rng)
    groups = [_items(wanted, background, rng) for wanted in specification.groups]
    items = [item for group in groups for item in group]
    warnings: list[str] = []
    links: list[tuple[_Item, Relation, _Item]] = []
    for relation in specification.relations:
        subjects, objects = groups[relation.subject], groups[relation.object]
        if relation.relation is Relation.INSIDE:
            for index, item in enumerate(subjects):
                _enclose(item, objects[index % len(objects)], warnings)
        else:
            links += [(one, relation.relation, two) for one in subjects for two in objects]
    _choose_sizes(items, rng)
    _separate_colours(items, background, rng)
    _place(items, links, rng, warnings)
    ordered = sorted(items, key=_depth)
    return Scene(background, tuple(item.thing() for item in ordered)), tuple(dict.fromkeys(warnings))


def pick(rng: np.random.Generator, options: Sequence[_Option]) -> _Option:
    """Return one of the options, each as likely as the others."""
    return options[int(rng.integers(len(options)))]


def neutral_background(rng: np.random.Generator, texture: Texture = Texture.SOLID) -> Background:
    """Return a grey or white background of a random shade."""
    return Background(pick(rng, (Colour.GREY, Colour.WHITE)), texture, *_shade_and_angle(rng))


def _background(wanted: WantedBackground, rng: np.random.Generator) -> Background:
    texture = wanted.texture or Texture.SOLID
    if wanted.colour is None:
        return neutral_background(rng, texture)
    return Background(wanted.colour, texture, *_shade_and_angle(rng))


def _shade_and_angle(rng: np.random.Generator) -> tuple[float, float]:
    return round(float(rng.uniform(-1.0, 1.0)), 3), round(float(rng.uniform(0.0, 179.0)), 2)


def _items(wanted: Wanted, background: Background, rng: np.random.Generator) -> list[_Item]:
    count = wanted.count if wanted.count is not None else int(rng.integers(2, 5))
    colours = [colour for colour in THING_COLOURS if colour is not background.colour]
    return [
        _Item(
            wanted=wanted,
            shape=wanted.shape or pick(rng, tuple(Shape)),
            colour=wanted.colour or pick(rng, colours),
            texture=wanted.texture or pick(rng, tuple(Texture)),
            rotation=float(rng.uniform(-_TILT, _TILT)) % 360.0,
        )
        for _ in range(count)
    ]


def _enclose(item: _Item, container: _Item, warnings: list[str]) -> None:
    if item.container is not None or container.root is item.root:
        warnings.append(f"could not place a {item.shape} inside a {container.shape}")
        return
    item.container = container
    container.contents.append(item)


def _choose_sizes(items: Iterable[_Item], rng: np.random.Generator) -> None:
    roots = [item for item in items if item.container is None]
    sizes = (Size.SMALL, Size.MEDIUM, Size.LARGE) if len(roots) <= 3 else (Size.SMALL, Size.MEDIUM)
    for item in roots:
        if item.contents and item.wanted.size in {None, Size.LARGE}:
            low, high = _CONTAINER_RADII
        else:
            low, high = RADII[item.wanted.size or pick(rng, sizes)]
        item.radius = float(rng.uniform(low, high))


def _separate_colours(items: Iterable[_Item], background: Background, rng: np.random.Generator) -> None:
    """Give things whose colour was left open another one than that of what they stand in."""
    for item in sorted(items, key=_depth):
        if item.container is not None and item.wanted.colour is None:
            taken = {background.colour, item.container.colour}
            item.colour = pick(rng, [colour for colour in THING_COLOURS if colour not in taken])


def _depth(item: _Item) -> int:
    return 0 if item.container is None else 1 + _depth(item.container)


def _place(
    items: Sequence[_Item],
    links: Sequence[tuple[_Item, Relation, _Item]],
    rng: np.random.Generator,
    warnings: list[str],
) -> None:
    roots = [item for item in items if item.container is None]
    numbers = {id(item): number for number, item in enumerate(roots)}
    constraints = [
        Constraint(numbers[id(one.root)], relation, numbers[id(two.root)])
        for one, relation, two in links
        if one.root is not two.root
    ]
    discs = arrange([_footprint(root, squeeze=1.0) for root in roots], constraints, rng)
    squeeze = 1.0
    if discs is None and constraints:
        discs = arrange([_footprint(root, squeeze=0.6) for root in roots], constraints, rng)
    while discs is None:
        squeeze *= 0.75
        warning = "could not place everything as asked; moved or shrank some of it"
        if warning not in warnings:
            warnings.append(warning)
        discs = arrange([_footprint(root, squeeze=squeeze) for root in roots], (), rng)
    for root, disc in zip(roots, discs, strict=True):
        root.x, root.y = disc.x, disc.y
        root.radius = disc.reach / outline(root.shape).reach
        _fill(root, rng)


def _footprint(root: _Item, squeeze: float) -> Footprint:
    reach = outline(root.shape).reach
    least = 0.8 * root.radius if root.contents else RADII[root.wanted.size or Size.SMALL][0]
    place = root.wanted.place if squeeze == 1.0 else None
    return Footprint(root.radius * reach, least * reach * squeeze, place)


def _fill(container: _Item, rng: np.random.Generator) -> None:
    """Put the contents of a placed thing into its pocket, side by side."""
    number = len(container.contents)
    if number == 0:
        return
    x, y, room = pocket_of(container.thing())
    share = 1.0 if number == 1 else 1.0 / (1.0 + 1.0 / math.sin(math.pi / number))
    start = float(rng.uniform(0.0, 2.0 * math.pi))
    for index, item in enumerate(container.contents):
        angle = start + 2.0 * math.pi * index / number
        item.x = x + room * (1.0 - share) * math.cos(angle)
        item.y = y + room * (1.0 - share) * math.sin(angle)
        item.radius = room * share * (1.0 if number == 1 else 0.85) / outline(item.shape).reach
        _fill(item, rng)


def pocket_of(thing: Thing) -> tuple[float, float, float]:
    """Return the centre (x, y) and the radius of the room in which something may stand on or in a thing."""
    pocket_x, pocket_y, pocket = outline(thing.shape).pocket
    use = _POCKET_USE * pocket
    if thing.shape is Shape.CIRCLE:  # keeps the band free that tells a ring from a disc with something on it
        use = HOLE_BAND[0]
    room = thing.radius * use if thing.shape is Shape.RING else max(thing.radius * use - HALO, 0.5 * thing.radius * use)
    angle = math.radians(thing.rotation)
    x = thing.x + thing.radius * (pocket_x * math.cos(angle) - pocket_y * math.sin(angle))
    y = thing.y + thing.radius * (pocket_x * math.sin(angle) + pocket_y * math.cos(angle))
    return x, y, room


def disc_of(thing: Thing) -> Disc:
    """Return the disc that a thing takes."""
    return Disc(thing.x, thing.y, thing.radius * outline(thing.shape).reach)
