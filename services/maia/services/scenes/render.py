"""Scene → picture. The same scene and size give the same pixels everywhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from maia.services.scenes.palette import PAINT, PATTERN, Rgb, shaded_tones
from maia.services.scenes.scene import Scene, Shape, Texture, Thing
from maia.services.scenes.shapes import RING_HOLE, outline, placed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maia.services.scenes.shapes import Points

DEFAULT_SIZE: Final = (224, 224)
MIN_SIDE: Final = 16
MAX_SIDE: Final = 2048

RIM: Final = 0.1
"""Width of the plain rim of a textured thing, as a share of its radius."""

HALO: Final = 0.03
"""Width of the gap around a thing that lies on a pattern or on its own colour, as a share of the shorter side."""

_OVERSAMPLING: Final = 3
_BACKGROUND_SCALE: Final = 0.2  # a background's pattern is as coarse as that of a thing of this radius

# Slim shapes have finer patterns, so that several periods fit into them.
_GRAIN: Final[Mapping[Shape, float]] = {
    Shape.RING: 0.7,
    Shape.CRESCENT: 0.75,
    Shape.STAR: 0.75,
    Shape.CROSS: 0.8,
    Shape.DIAMOND: 0.8,
    Shape.TRIANGLE: 0.85,
    Shape.HEART: 0.85,
}


def render(scene: Scene, size: tuple[int, int] = DEFAULT_SIZE) -> Image.Image:
    """Draw a scene, antialiased.

    Args:
        scene: What to draw.
        size: Width and height in pixels, MIN_SIDE to MAX_SIDE each. Radii are shares of the shorter side.

    Returns:
        An RGB image of that size.

    Raises:
        ValueError: The size is out of range.
    """
    width, height = size
    if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
        raise ValueError(f"a picture of {width}×{height} pixels; each side must be {MIN_SIDE} to {MAX_SIDE}")
    wide, high = width * _OVERSAMPLING, height * _OVERSAMPLING
    side = min(wide, high)
    first, second = shaded_tones(scene.background)
    canvas = Image.new("RGB", (wide, high), first)
    _draw_pattern(
        ImageDraw.Draw(canvas),
        scene.background.texture,
        centre=(wide / 2, high / 2),
        reach=math.hypot(wide, high) / 2,
        scale=side * _BACKGROUND_SCALE,
        angle=scene.background.angle,
        colour=second,
    )
    for index, thing in enumerate(scene.things):
        halo = first if _needs_halo(thing, scene.things[:index]) else None
        _draw_thing(canvas, thing, side, halo)
    return canvas.reduce(_OVERSAMPLING)


def _needs_halo(thing: Thing, below: Sequence[Thing]) -> bool:
    """Whether the thing lies on one of its own colour, or on a pattern, and would drown in it."""
    return any(
        math.hypot(other.x - thing.x, other.y - thing.y) < other.radius
        and (other.colour is thing.colour or other.texture is not Texture.SOLID)
        and not _in_hole(thing, other)
        for other in below
    )


def _in_hole(thing: Thing, ring: Thing) -> bool:
    distance = math.hypot(ring.x - thing.x, ring.y - thing.y)
    return ring.shape is Shape.RING and distance + thing.radius < RING_HOLE * ring.radius


def _draw_thing(canvas: Image.Image, thing: Thing, side: int, halo: Rgb | None) -> None:
    shape = outline(thing.shape)
    radius = thing.radius * side
    half = math.ceil(radius * shape.reach + side * HALO) + 2
    x, y = thing.x * canvas.width, thing.y * canvas.height
    left, top = math.floor(x) - half, math.floor(y) - half
    box = (2 * half, 2 * half)
    contours = [
        placed(points, x - left, y - top, radius, thing.rotation)
        for points in (shape.outer, shape.hole)
        if points is not None
    ]
    outer = _fill(box, contours)
    if halo is not None:
        silhouette = contours[:1]
        canvas.paste(halo, (left, top), _stroke(_fill(box, silhouette), silhouette, 2 * HALO * side, 255))
    canvas.paste(PAINT[thing.colour], (left, top), outer)
    if thing.texture is Texture.SOLID:
        return
    tile = Image.new("RGB", box, PAINT[thing.colour])
    _draw_pattern(
        ImageDraw.Draw(tile),
        thing.texture,
        centre=(x - left, y - top),
        reach=half * math.sqrt(2.0),
        scale=radius * _GRAIN.get(thing.shape, 1.0),
        angle=thing.rotation,
        colour=PATTERN,
    )
    canvas.paste(tile, (left, top), _stroke(outer, contours, 2 * RIM * radius, 0))


def _fill(box: tuple[int, int], contours: Sequence[Points]) -> Image.Image:
    """Return a mask ("L") with the first contour filled and the second, if there is one, cut out."""
    mask = Image.new("L", box, 0)
    draw = ImageDraw.Draw(mask)
    for contour, value in zip(contours, (255, 0), strict=False):
        draw.polygon(contour.ravel().tolist(), fill=value)
    return mask


def _stroke(mask: Image.Image, contours: Sequence[Points], width: float, value: int) -> Image.Image:
    """Draw the contours into a mask as lines: with 0 it shrinks by half the width, with 255 it grows."""
    draw = ImageDraw.Draw(mask)
    half = width / 2
    for contour in contours:
        points = contour.tolist()
        for (x, y), following in zip(points, [*points[1:], points[0]], strict=True):
            draw.line([x, y, *following], fill=value, width=max(1, round(width)))
            draw.ellipse([x - half, y - half, x + half, y + half], fill=value)  # a joint without gaps
    return mask


def _draw_pattern(
    draw: ImageDraw.ImageDraw,
    texture: Texture,
    *,
    centre: tuple[float, float],
    reach: float,
    scale: float,
    angle: float,
    colour: Rgb,
) -> None:
    """Draw a texture's marks in `colour` over at least the disc of radius `reach` around `centre`."""
    if texture is Texture.SOLID:
        return
    if texture is Texture.STRIPED:
        marks = _stripes(reach / scale)
    elif texture is Texture.DOTTED:
        marks = _dots(reach / scale)
    else:
        marks = _checks(reach / scale)
    flat = placed(marks.reshape(-1, 2), centre[0], centre[1], scale, angle)
    for points in flat.reshape(len(marks), -1).tolist():
        draw.polygon(points, fill=colour)


def _stripes(reach: float) -> Points:
    """Return bars, float64 (n, 4, 2), for a pattern scale of 1."""
    pitch = 0.6
    count = math.ceil(reach / pitch)
    bar = np.array([(-0.25, -reach), (0.25, -reach), (0.25, reach), (-0.25, reach)]) * (pitch, 1.0)
    middles = (np.arange(-count, count) + 0.5) * pitch
    return np.asarray(bar + np.stack([middles, np.zeros_like(middles)], axis=1)[:, None, :])


def _checks(reach: float) -> Points:
    """Return every second square of a grid, float64 (n, 4, 2)."""
    pitch = 0.38
    count = math.ceil(reach / pitch)
    cells = np.arange(-count, count)
    column, row = (axis.ravel() for axis in np.meshgrid(cells, cells))
    odd = (column + row) % 2 == 1
    corners = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    return np.asarray((np.stack([column[odd], row[odd]], axis=1)[:, None, :] + corners) * pitch)


def _dots(reach: float) -> Points:
    """Return discs as 16-gons, float64 (n, 16, 2), their centres on a triangular grid."""
    pitch = 0.6
    rows = math.ceil(reach / (pitch * math.sqrt(0.75)))
    count = math.ceil(reach / pitch)
    column, row = (axis.ravel() for axis in np.meshgrid(np.arange(-count, count + 1), np.arange(-rows, rows + 1)))
    centres = np.stack([(column + 0.5 * (row % 2)) * pitch, row * pitch * math.sqrt(0.75)], axis=1)
    angles = np.arange(16) * (math.pi / 8.0)
    disc = 0.19 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(centres[:, None, :] + disc)
