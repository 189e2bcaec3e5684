"""Picture → what is on it, from pixels alone.

Every pixel is named after the nearest palette value (`candidates`); connected pixels of one paint are a candidate,
whose holes are filled and whose shape and texture are named by classifiers (`appearance`). The rest is background.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from maia.services.scenes.appearance import recogniser, surface_of
from maia.services.scenes.candidates import (
    BACKGROUND_CLASS,
    classify_pixels,
    find_candidates,
    grown,
    open_background,
    shrunk,
)
from maia.services.scenes.recognise import measure_silhouette, turn_between
from maia.services.scenes.render import HALO, render
from maia.services.scenes.scene import (
    MAX_RADIUS,
    MAX_THINGS,
    MIN_RADIUS,
    Background,
    Colour,
    Scene,
    Shape,
    Size,
    Texture,
    Thing,
    size_of,
)
from maia.services.scenes.shapes import outline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maia.services.scenes.candidates import Candidate, Mask, Pixels
    from maia.services.scenes.recognise import Silhouette

MIN_CONFIDENCE: Final = 0.2
"""A candidate named with less confidence is not reported."""

_WORKING_SIDE: Final = 256  # larger pictures are reduced to this before anything is measured


@dataclass(frozen=True, slots=True)
class Region:
    """A thing that was found.

    Attributes:
        shape: The most likely shape.
        colour: The paint; one of THING_COLOURS.
        texture: The most likely texture.
        x: Centre of area as a share of the picture's width.
        y: The same of its height.
        radius: As in `Thing`, a share of the shorter side.
        rotation: As in `Thing`, degrees; any of the equivalent values for a shape that looks the same when turned.
        box: Left, top, right, bottom in pixels; right and bottom are exclusive.
        mask: The pixels that show it, bool (H, W): without what lies on it and without the hole of a ring.
        confidence: 0 to 1, that shape and texture are right.
    """

    shape: Shape
    colour: Colour
    texture: Texture
    x: float
    y: float
    radius: float
    rotation: float
    box: tuple[int, int, int, int]
    mask: Mask
    confidence: float

    @property
    def size(self) -> Size:
        """The size class of the radius."""
        return size_of(self.radius)


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What is on a picture.

    Attributes:
        width: Of the picture in pixels.
        height: Of the picture in pixels.
        regions: The things, the largest first; a thing that stands on another comes after it.
        background: What lies behind them; its shade and angle are not measured and are 0.
    """

    width: int
    height: int
    regions: tuple[Region, ...]
    background: Background

    @property
    def background_mask(self) -> Mask:
        """The pixels of no thing, bool (H, W)."""
        mask = np.ones((self.height, self.width), np.bool_)
        for region in self.regions:
            mask &= ~region.mask
        return mask


def segment(rgb: NDArray[np.uint8]) -> Segmentation:
    """Find the things on a picture and name them.

    Args:
        rgb: uint8 (H, W, 3), each side at least 16. Made for pictures of ours, also as JPEG, with mild noise or at
            other sizes; on any other picture it reports what happens to look like a thing, or nothing.

    Raises:
        ValueError: The array has another type or shape.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or min(rgb.shape[:2]) < 16:
        raise ValueError(f"an array {rgb.dtype} {rgb.shape}; a picture is uint8 (H, W, 3) with sides of at least 16")
    height, width = rgb.shape[:2]
    work = _reduced(rgb)
    classes = open_background(classify_pixels(work))
    candidates = find_candidates(classes)
    regions = []
    free = classes == BACKGROUND_CLASS
    for index, candidate in enumerate(candidates):
        region = _read(candidate, candidates[index + 1 :], work, classes)
        if region is not None:
            free &= ~region.mask
            regions.append(_enlarged(region, width, height))
    return Segmentation(width, height, tuple(regions[:MAX_THINGS]), recogniser().background(work, shrunk(free, 2)))


def scene_from_pixels(rgb: NDArray[np.uint8]) -> tuple[Scene, tuple[str, ...]]:
    """Return a scene that looks like the picture, and warnings about what it may have lost.

    Args:
        rgb: As for `segment`.
    """
    found = segment(rgb)
    things = tuple(
        Thing(
            shape=region.shape,
            colour=region.colour,
            texture=region.texture,
            x=region.x,
            y=region.y,
            radius=min(max(region.radius, MIN_RADIUS), MAX_RADIUS),
            rotation=region.rotation,
        )
        for region in found.regions
    )
    warnings = ["the picture carries no scene; it was redrawn from what is visible"]
    unsure = [f"{region.colour} {region.shape}" for region in found.regions if region.confidence < 0.6]
    if unsure:
        warnings.append(f"unsure about: {', '.join(unsure)}")
    return Scene(found.background, things), tuple(warnings)


def _reduced(rgb: Pixels) -> Pixels:
    height, width = rgb.shape[:2]
    longer = max(height, width)
    if longer <= _WORKING_SIDE:
        return rgb
    size = (max(16, width * _WORKING_SIDE // longer), max(16, height * _WORKING_SIDE // longer))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))


def _read(candidate: Candidate, smaller: list[Candidate], rgb: Pixels, classes: Pixels) -> Region | None:
    """Name a candidate; `smaller` are those that may lie on it. Returns None if it looks like no thing."""
    silhouette = measure_silhouette(candidate.filled)
    crop_classes = candidate.crop(classes)
    shape, confidence = recogniser().shape(candidate, silhouette, crop_classes)
    if confidence < MIN_CONFIDENCE:
        return None
    covered = _covered(candidate, smaller)
    surface = surface_of(candidate, silhouette, shape)
    if covered.any():
        surface &= ~grown(covered, math.ceil(HALO * min(classes.shape)) + 2)
    texture, texture_confidence = recogniser().thing_texture(candidate.crop(rgb), candidate.colour, shape, surface)
    visible = candidate.filled & ~covered
    if shape is Shape.RING:
        visible &= crop_classes != BACKGROUND_CLASS
    return _region(
        candidate,
        silhouette,
        shape=shape,
        texture=texture,
        visible=visible,
        picture=rgb.shape[:2],
        confidence=confidence * texture_confidence,
    )


def _region(
    candidate: Candidate,
    silhouette: Silhouette,
    *,
    shape: Shape,
    texture: Texture,
    visible: Mask,
    picture: tuple[int, ...],
    confidence: float,
) -> Region:
    height, width = picture[0], picture[1]
    geometry = outline(shape)
    inner_height, inner_width = visible.shape[0] - 2, visible.shape[1] - 2
    left, top = candidate.left + 1, candidate.top + 1
    return Region(
        shape=shape,
        colour=candidate.colour,
        texture=texture,
        x=min(1.0, max(0.0, (candidate.left + silhouette.x) / width)),
        y=min(1.0, max(0.0, (candidate.top + silhouette.y) / height)),
        radius=math.sqrt(silhouette.area / geometry.area) / min(height, width),
        rotation=turn_between(_reference(shape), silhouette),
        box=(left, top, left + inner_width, top + inner_height),
        mask=candidate.on_canvas(visible, (height, width)),
        confidence=confidence,
    )


def _covered(candidate: Candidate, smaller: list[Candidate]) -> Mask:
    """Return which pixels of a candidate's crop belong to things that lie on it or in its hole."""
    covered = np.zeros_like(candidate.filled)
    height, width = covered.shape
    for other in smaller:
        top, left = other.top - candidate.top, other.left - candidate.left
        inner_height, inner_width = other.filled.shape
        if top >= 0 and left >= 0 and top + inner_height <= height and left + inner_width <= width:
            covered[top : top + inner_height, left : left + inner_width] |= other.filled
    return covered


def _enlarged(region: Region, width: int, height: int) -> Region:
    """Return the region in the pixels of the original picture."""
    if region.mask.shape == (height, width):
        return region
    rows = np.arange(height) * region.mask.shape[0] // height
    columns = np.arange(width) * region.mask.shape[1] // width
    across, down = width / region.mask.shape[1], height / region.mask.shape[0]
    left, top, right, bottom = region.box
    box = (math.floor(left * across), math.floor(top * down), math.ceil(right * across), math.ceil(bottom * down))
    return replace(region, mask=region.mask[rows[:, None], columns], box=box)


@cache
def _reference(shape: Shape) -> Silhouette:
    """Return the silhouette of a shape as drawn without rotation."""
    rgb = np.asarray(render(Scene(things=(Thing(shape, Colour.BLUE, Texture.SOLID, 0.5, 0.5, 0.35),)), (128, 128)))
    return measure_silhouette(find_candidates(classify_pixels(rgb))[0].filled)
