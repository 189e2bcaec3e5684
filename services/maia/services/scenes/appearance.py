"""Naming what was found: the shape of a silhouette, the texture of a surface, the colour of a background."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from PIL import Image

from maia.services.scenes.candidates import PATTERN_CLASS, classify_pixels, find_candidates, shrunk
from maia.services.scenes.palette import PAINT, PATTERN, shaded_tones
from maia.services.scenes.recognise import Discriminant, measure_silhouette, texture_features
from maia.services.scenes.render import RIM, render
from maia.services.scenes.scene import THING_COLOURS, Background, Colour, Scene, Shape, Texture, Thing
from maia.services.scenes.shapes import HOLE_BAND, RING_HOLE, outline

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from maia.services.scenes.candidates import Candidate, Mask, Pixels
    from maia.services.scenes.recognise import Field, Silhouette, Vector

OUTLINES: Final[tuple[Shape, ...]] = tuple(shape for shape in Shape if shape is not Shape.RING)
"""Shapes that differ in their silhouette; a ring's is that of a circle."""

PATTERNS: Final = (Texture.STRIPED, Texture.DOTTED, Texture.CHECKERED)

_PLAIN_SHARE: Final = 0.07  # of a thing's surface that may look white by noise
_PLAIN_SPREAD: Final = 4.5  # grey levels
_MARKED: Final = {Texture.STRIPED: 0.5, Texture.DOTTED: 0.36, Texture.CHECKERED: 0.5}  # share of the second tone

Rgb32: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True, slots=True)
class Recogniser:
    """The fitted classifiers; `recogniser()` returns the one there is."""

    shapes: Discriminant
    thing_patterns: Discriminant
    background_patterns: Discriminant

    def shape(self, candidate: Candidate, silhouette: Silhouette, classes: Pixels) -> tuple[Shape, float]:
        """Return the shape of a candidate and a confidence; `classes` are those of its crop's pixels."""
        index, confidence = self.shapes.classify(silhouette.features())
        shape = OUTLINES[index]
        if shape is Shape.CIRCLE and _has_hole(candidate, silhouette, classes):
            shape = Shape.RING
        return shape, confidence

    def thing_texture(self, rgb: Pixels, colour: Colour, shape: Shape, surface: Mask) -> tuple[Texture, float]:
        """Return the texture of a thing and a confidence.

        Args:
            rgb: The crop around the thing.
            colour: Its paint.
            shape: Its shape; slim ones cut a pattern differently from full ones.
            surface: Which pixels show it, without its rim and what lies on it.
        """
        features = texture_features(_pattern_share(rgb, colour), surface)
        if features[1] < _PLAIN_SHARE:
            return Texture.SOLID, 1.0
        first = list(Shape).index(shape) * len(PATTERNS)
        index, confidence = self.thing_patterns.classify(features, slice(first, first + len(PATTERNS)))
        return PATTERNS[index], confidence

    def background(self, rgb: Pixels, free: Mask) -> Background:
        """Return the colour and texture of what the `free` pixels of a picture show, angle and shade being 0."""
        small, where = _halved(rgb, free)
        if not where.any():
            return Background()
        features, spread = _background_features(small, where)
        texture = Texture.SOLID
        if spread >= _PLAIN_SPREAD:
            texture = PATTERNS[self.background_patterns.classify(features)[0]]
        return Background(_nearest_background(small[where].mean(axis=0), texture), texture)


@cache
def recogniser() -> Recogniser:
    """Return the classifiers, fitted to drawings of ours at the first call, which takes about a second."""
    rng = np.random.Generator(np.random.PCG64(20))
    shape_samples: list[tuple[Vector, int]] = []
    pattern_samples: list[tuple[Vector, int]] = []
    for sample in range(36):
        for shape in Shape:
            thing = _sample_thing(rng, shape, tuple(Texture)[sample % 4])
            rgb = _sample_pixels(rng, Scene(things=(thing,)), sample)
            found = find_candidates(classify_pixels(rgb))
            if not found:
                continue
            candidate = found[0]
            silhouette = measure_silhouette(candidate.filled)
            seen = Shape.CIRCLE if shape is Shape.RING else shape
            shape_samples.append((silhouette.features(), OUTLINES.index(seen)))
            if thing.texture in PATTERNS:
                surface = surface_of(candidate, silhouette, shape)
                field = _pattern_share(candidate.crop(rgb), candidate.colour)
                label = list(Shape).index(shape) * len(PATTERNS) + PATTERNS.index(thing.texture)
                pattern_samples.append((texture_features(field, surface), label))
    return Recogniser(
        shapes=_fit(shape_samples, 0.05),
        thing_patterns=_fit(pattern_samples, 0.002),
        background_patterns=_fit(_background_samples(rng), 0.002),
    )


def surface_of(candidate: Candidate, silhouette: Silhouette, shape: Shape) -> Mask:
    """Return the part of a candidate's crop in which its texture shows: without its rim and, for a ring, its hole."""
    radius = math.sqrt(silhouette.area / outline(shape).area)
    rim = max(1, round(RIM * radius + 1.0))  # and the soft edge behind it, whose direction is that of the outline
    surface = shrunk(candidate.filled, rim)
    if shape is Shape.RING:
        hole = RING_HOLE * outline(shape).reach * radius
        surface &= _distance(silhouette, surface.shape) > hole + rim + 0.5
    return surface


def _has_hole(candidate: Candidate, silhouette: Silhouette, classes: Pixels) -> bool:
    """Whether a disc is a ring: a band just inside a ring's hole shows neither its paint nor its pattern.

    A thing that stands on a disc, or in a ring, is smaller than this band.
    """
    radius = math.sqrt(silhouette.area / math.pi)
    distance = _distance(silhouette, candidate.filled.shape) / radius
    band = classes[(distance > HOLE_BAND[0]) & (distance < HOLE_BAND[1])]
    own = (band == THING_COLOURS.index(candidate.colour)) | (band == PATTERN_CLASS)
    return bool(own.size) and float(own.mean()) < 0.4


def _distance(silhouette: Silhouette, shape: tuple[int, ...]) -> Vector:
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    return np.asarray(np.hypot(columns[None, :] - silhouette.x, rows[:, None] - silhouette.y))


def _pattern_share(rgb: Pixels, colour: Colour) -> Field:
    """Return where each pixel lies between the paint (0) and the pattern (1), float32, clipped."""
    paint = np.array(PAINT[colour], np.float32)
    axis = np.array(PATTERN, np.float32) - paint
    share = (rgb.astype(np.float32) - paint) @ (axis / float(axis @ axis))
    return np.asarray(np.clip(share, 0.0, 1.0), dtype=np.float32)


def _halved(rgb: Pixels, free: Mask) -> tuple[Rgb32, Mask]:
    """Return the picture at half size, and which of its pixels are made of free ones only."""
    height, width = free.shape[0] // 2 * 2, free.shape[1] // 2 * 2
    quarters = [(slice(row, height, 2), slice(column, width, 2)) for row in (0, 1) for column in (0, 1)]
    small = np.zeros((height // 2, width // 2, 3), np.float32)
    where = np.ones(small.shape[:2], np.bool_)
    for quarter in quarters:  # several times faster than a sum over the axes of blocks
        small += rgb[quarter]
        where &= free[quarter]
    small /= 4.0
    return small, where


def _background_features(small: Rgb32, where: Mask) -> tuple[Vector, float]:
    """Return the texture features of a background and the spread of its brightness in grey levels."""
    brightness = small @ np.full(3, 1.0 / 3.0, np.float32)
    seen = brightness[where]
    middle, spread = float(seen.mean()), float(seen.std())
    field = (brightness - middle) / (4.0 * max(spread, 1.0)) + 0.5
    if (seen > middle).mean() > 0.5:  # marks are the smaller part, and may be the darker tone
        field = 1.0 - field
    return texture_features(field, where), spread


def _nearest_background(mean: NDArray[np.float32], texture: Texture) -> Colour:
    share = _MARKED.get(texture, 0.0)

    def distance(background: Background) -> float:
        first, second = (np.array(tone, np.float64) for tone in shaded_tones(background))
        return float(np.square((1.0 - share) * first + share * second - mean).sum())

    shades = [Background(colour, shade=shade) for colour in Colour for shade in (-1.0, 0.0, 1.0)]
    return min(shades, key=distance).colour


def _sample_thing(rng: np.random.Generator, shape: Shape, texture: Texture) -> Thing:
    x, y = 0.5 + rng.uniform(-0.02, 0.02, 2)
    rotation = rng.uniform(0.0, 359.9)
    return Thing(shape, Colour.BLUE, texture, float(x), float(y), 0.38, float(rotation))


def _sample_pixels(rng: np.random.Generator, scene: Scene, sample: int) -> Pixels:
    side = round(float(np.exp(rng.uniform(math.log(24.0), math.log(110.0)))))
    return _degraded(render(scene, (side, side)), jpeg=sample // 4 % 2 == 1)


def _background_samples(rng: np.random.Generator) -> list[tuple[Vector, int]]:
    samples = []
    for sample in range(16):
        for index, texture in enumerate(PATTERNS):
            side = int(rng.integers(100, 240))
            background = Background(Colour.BLUE, texture, angle=float(rng.uniform(0.0, 359.9)))
            rgb = _degraded(render(Scene(background), (side, side)), jpeg=sample % 2 == 1)
            small, where = _halved(rgb, np.ones(rgb.shape[:2], np.bool_))
            samples.append((_background_features(small, where)[0], index))
    return samples


def _degraded(image: Image.Image, *, jpeg: bool) -> Pixels:
    if jpeg:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=75)
        image = Image.open(buffer).convert("RGB")
    return np.asarray(image)


def _fit(samples: list[tuple[Vector, int]], shrinkage: float) -> Discriminant:
    features = np.stack([feature for feature, _ in samples])
    return Discriminant.fit(features, np.array([label for _, label in samples]), shrinkage)
