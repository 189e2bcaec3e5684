"""The outlines of the shapes, in a unit space: radius 1, the centre of area at the origin, y pointing down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from maia.services.scenes.scene import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Points: TypeAlias = "NDArray[np.float64]"

RING_HOLE: Final = 0.54
"""The hole of a ring as a share of its outer radius."""

HOLE_BAND: Final = (RING_HOLE - 0.09, RING_HOLE - 0.02)
"""The part of the hole, as shares of the outer radius, that stays empty when something stands in it."""

# How far the farthest corner lies from the centre: chosen so that equal radii look equally large.
_REACH: Final[Mapping[Shape, float]] = {
    Shape.CIRCLE: 1.0,
    Shape.SQUARE: 1.2,
    Shape.TRIANGLE: 1.25,
    Shape.STAR: 1.25,
    Shape.CROSS: 1.18,
    Shape.RING: 1.05,
    Shape.HEART: 1.18,
    Shape.HEXAGON: 1.08,
    Shape.DIAMOND: 1.25,
    Shape.CRESCENT: 1.2,
}


@dataclass(frozen=True, slots=True)
class Outline:
    """The geometry of one shape.

    Attributes:
        outer: The silhouette, float64 (n, 2), x and y; closed, without repeating its first point.
        hole: The same for what is cut out of it, or None.
        reach: The largest distance of a point from the origin.
        area: Of the silhouette, the hole not subtracted.
        pocket: Centre x, centre y and radius of the largest circle inside in which another thing may stand.
    """

    outer: Points
    hole: Points | None
    reach: float
    area: float
    pocket: tuple[float, float, float]


@cache
def outline(shape: Shape) -> Outline:
    """Return the geometry of a shape, which must not be written to."""
    raw = _raw_points(shape)
    area, centre = _area_and_centre(raw)
    points = raw - centre
    scale = _REACH[shape] / float(np.hypot(points[:, 0], points[:, 1]).max())
    points *= scale
    hole = points * RING_HOLE if shape is Shape.RING else None
    pocket = (0.0, 0.0, RING_HOLE * _REACH[shape]) if shape is Shape.RING else _pocket(points)
    for array in (points, hole):
        if array is not None:
            array.flags.writeable = False
    return Outline(points, hole, _REACH[shape], area * scale * scale, pocket)


def placed(points: Points, x: float, y: float, radius: float, rotation: float) -> Points:
    """Return unit points scaled by `radius`, turned clockwise by `rotation` degrees and moved to (x, y)."""
    angle = math.radians(rotation)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = points @ np.array([[cos, sin], [-sin, cos]])
    return np.asarray(turned * radius + (x, y))


def _raw_points(shape: Shape) -> Points:
    """Return an outline of any size and position."""
    regular = {
        Shape.CIRCLE: (72, 0.0),
        Shape.RING: (72, 0.0),
        Shape.SQUARE: (4, 45.0),
        Shape.TRIANGLE: (3, 0.0),
        Shape.HEXAGON: (6, 30.0),
    }
    if shape in regular:
        return _polygon(*regular[shape])
    if shape is Shape.STAR:
        return _star(inner=0.45)
    if shape is Shape.HEART:
        return _heart()
    if shape is Shape.CRESCENT:
        return _crescent(inner=0.75, offset=0.52)
    arm = 0.31
    corners = {
        Shape.DIAMOND: [(0.0, -1.0), (0.6, 0.0), (0.0, 1.0), (-0.6, 0.0)],
        Shape.CROSS: [
            (-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm),
            (arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm),
        ],
    }  # fmt: skip
    return np.array(corners[shape], np.float64)


def _star(inner: float) -> Points:
    points = _polygon(10)
    points[1::2] *= inner
    return points


def _heart() -> Points:
    t = np.linspace(0.0, 2.0 * math.pi, 64, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], axis=1)


def _polygon(corners: int, turn: float = 0.0) -> Points:
    angles = np.radians(np.arange(corners) * 360.0 / corners + turn - 90.0)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _crescent(inner: float, offset: float) -> Points:
    """Return the unit circle less a circle of radius `inner` that is moved right by `offset`."""
    meet_x = (1.0 + offset**2 - inner**2) / (2.0 * offset)
    outer_angle = math.acos(meet_x)
    inner_angle = math.atan2(math.sqrt(1.0 - meet_x**2), meet_x - offset)
    back = np.linspace(outer_angle, 2.0 * math.pi - outer_angle, 48)
    bay = np.linspace(2.0 * math.pi - inner_angle, inner_angle, 34)[1:-1]
    return np.concatenate(
        [
            np.stack([np.cos(back), np.sin(back)], axis=1),
            np.stack([offset + inner * np.cos(bay), inner * np.sin(bay)], axis=1),
        ]
    )


def _area_and_centre(points: Points) -> tuple[float, Points]:
    following = np.roll(points, -1, axis=0)
    cross = points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]
    area = float(cross.sum()) / 2.0
    centre = ((points + following) * cross[:, None]).sum(axis=0) / (6.0 * area)
    return abs(area), centre


def _pocket(points: Points) -> tuple[float, float, float]:
    """Return the largest inscribed circle, found on a grid: enough for placing, and needs no solver."""
    axis = np.linspace(-1.0, 1.0, 41)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    start, end = points, np.roll(points, -1, axis=0)
    edge = end - start
    along = ((grid[:, None] - start) * edge).sum(-1) / (edge**2).sum(-1)
    nearest = start + np.clip(along, 0.0, 1.0)[..., None] * edge
    distance = np.linalg.norm(grid[:, None] - nearest, axis=-1).min(axis=1)
    distance[~_inside(grid, start, end)] = 0.0
    best = int(distance.argmax())
    return float(grid[best, 0]), float(grid[best, 1]), float(distance[best])


def _inside(grid: Points, start: Points, end: Points) -> NDArray[np.bool_]:
    """Return which grid points lie in the polygon, by counting the edges that a ray to the right crosses."""
    x, y = grid[:, 0, None], grid[:, 1, None]
    spans = (start[:, 1] > y) != (end[:, 1] > y)
    slope = (end[:, 0] - start[:, 0]) / np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    crossings = spans & (x < start[:, 0] + (y - start[:, 1]) * slope)
    return np.asarray(crossings.sum(axis=1) % 2 == 1)
