"""Where things may stand: random positions that respect places and relations and do not overlap.

Everything happens in a unit square. A thing takes the disc of its reach; relations and places become bounds for the
centre, and a whole arrangement is tried again, with things a little smaller, until all of them fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from maia.services.scenes.scene import Relation
from maia.services.scenes.specification import THIRDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from maia.services.scenes.specification import Place

GAP: Final = 0.025
"""Least distance between two things, and between a thing and the border."""

_TRIES: Final = 48  # random centres for one thing in one attempt
_NEAR: Final = 0.16  # largest gap between things that are next to each other

_OPPOSITE: Final = {
    Relation.LEFT_OF: Relation.RIGHT_OF,
    Relation.RIGHT_OF: Relation.LEFT_OF,
    Relation.ABOVE: Relation.BELOW,
    Relation.BELOW: Relation.ABOVE,
    Relation.NEXT_TO: Relation.NEXT_TO,
}


@dataclass(frozen=True, slots=True)
class Footprint:
    """The room that a thing takes.

    Attributes:
        reach: The radius of the disc that it would like to have.
        least: The radius of the disc that it must have.
        place: Where its centre shall be.
    """

    reach: float
    least: float
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Constraint:
    """The footprint `subject` stands so to the footprint `object`; INSIDE is none of the layout's business."""

    subject: int
    relation: Relation
    object: int


@dataclass(frozen=True, slots=True)
class Disc:
    """A footprint's place: its centre and the reach that it got."""

    x: float
    y: float
    reach: float


@dataclass(frozen=True, slots=True)
class _Bounds:
    low_x: float
    high_x: float
    low_y: float
    high_y: float


def arrange(
    footprints: Sequence[Footprint],
    constraints: Sequence[Constraint],
    rng: np.random.Generator,
    *,
    attempts: int = 80,
    standing: Sequence[Disc] = (),
) -> list[Disc] | None:
    """Find a place for every footprint.

    Args:
        footprints: What to place.
        constraints: What must hold between them.
        rng: Where chance comes from.
        attempts: How often to start anew; towards the last one everything shrinks to its least reach.
        standing: Discs that are taken already.

    Returns:
        One disc for each footprint, in their order; None if no attempt succeeded.
    """
    towards: dict[int, list[tuple[Relation, int]]] = {index: [] for index in range(len(footprints))}
    for constraint in constraints:
        towards[constraint.subject].append((constraint.relation, constraint.object))
        towards[constraint.object].append((_OPPOSITE[constraint.relation], constraint.subject))
    for attempt in range(attempts):
        share = min(1.0, attempt / max(1.0, 0.7 * attempts))
        aligned = attempt < attempts // 2
        discs: dict[int, Disc] = {}
        for index in rng.permutation(len(footprints)).tolist():
            footprint = footprints[index]
            reach = footprint.reach + share * (footprint.least - footprint.reach)
            related = [(relation, discs[other]) for relation, other in towards[index] if other in discs]
            disc = find_place(reach, footprint.place, related, [*standing, *discs.values()], rng, aligned=aligned)
            if disc is None:
                break
            discs[index] = disc
        else:
            return [discs[index] for index in range(len(footprints))]
    return None


def find_place(
    reach: float,
    place: Place | None,
    related: Sequence[tuple[Relation, Disc]],
    taken: Sequence[Disc],
    rng: np.random.Generator,
    *,
    aligned: bool,
) -> Disc | None:
    """Find a place for one thing by a single handful of random tries.

    Args:
        reach: The radius of the disc that it takes.
        place: Where its centre shall be.
        related: How it shall stand to discs that are placed already.
        taken: Discs that it must not touch.
        rng: Where chance comes from.
        aligned: Whether "left of" means about level, and so on.

    Returns:
        Its disc, or None if no try fitted.
    """
    bounds = _bounds(reach, place, related)
    if bounds is None:
        return None
    x = rng.uniform(bounds.low_x, bounds.high_x, _TRIES)
    y = rng.uniform(bounds.low_y, bounds.high_y, _TRIES)
    fits = np.ones(_TRIES, np.bool_)
    for other in taken:
        fits &= np.hypot(x - other.x, y - other.y) >= reach + other.reach + GAP
    for relation, other in related:
        fits &= _stands(relation, x - other.x, y - other.y, reach + other.reach, aligned=aligned)
    if not fits.any():
        return None
    first = int(fits.argmax())
    return Disc(float(x[first]), float(y[first]), reach)


def _bounds(reach: float, place: Place | None, related: Sequence[tuple[Relation, Disc]]) -> _Bounds | None:
    """Return where the centre may be, or None if nowhere."""
    low_x = low_y = reach + GAP
    high_x = high_y = 1.0 - reach - GAP
    if place is not None and place.column is not None:
        low_x, high_x = max(low_x, THIRDS[place.column][0]), min(high_x, THIRDS[place.column][1])
    if place is not None and place.row is not None:
        low_y, high_y = max(low_y, THIRDS[place.row][0]), min(high_y, THIRDS[place.row][1])
    for relation, other in related:
        apart = reach + other.reach + GAP
        match relation:
            case Relation.LEFT_OF:
                high_x = min(high_x, other.x - apart)
            case Relation.RIGHT_OF:
                low_x = max(low_x, other.x + apart)
            case Relation.ABOVE:
                high_y = min(high_y, other.y - apart)
            case Relation.BELOW:
                low_y = max(low_y, other.y + apart)
            case Relation.NEXT_TO | Relation.INSIDE:
                pass
    if low_x > high_x or low_y > high_y:
        return None
    return _Bounds(low_x, high_x, low_y, high_y)


def _stands(
    relation: Relation, dx: NDArray[np.float64], dy: NDArray[np.float64], touching: float, *, aligned: bool
) -> NDArray[np.bool_]:
    """Return which offsets look like the relation; without `aligned`, any offset within the bounds does."""
    if relation is Relation.NEXT_TO:
        near = np.hypot(dx, dy) <= touching + (_NEAR if aligned else 2.0 * _NEAR)
        return near & (np.abs(dy) <= 0.5 * np.abs(dx)) if aligned else near
    if not aligned:
        return np.ones(dx.shape, np.bool_)
    across = relation in {Relation.LEFT_OF, Relation.RIGHT_OF}
    return np.asarray(np.abs(dy) <= 0.7 * np.abs(dx) if across else np.abs(dx) <= 0.7 * np.abs(dy))
