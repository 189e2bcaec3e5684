"""Pixels → candidates: which connected patches of paint may be things."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from scipy import ndimage

from maia.services.scenes.palette import PAINT, PATTERN, shaded_tones
from maia.services.scenes.scene import THING_COLOURS, Background, Colour

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mask: TypeAlias = "NDArray[np.bool_]"
Pixels: TypeAlias = "NDArray[np.uint8]"

PATTERN_CLASS: Final = len(THING_COLOURS)
BACKGROUND_CLASS: Final = PATTERN_CLASS + 1

_BITS: Final = 5  # of each channel that the look-up table knows
_MIN_SHARE: Final = 0.0012  # of the picture; the smallest crescent that is ever composed covers 0.007
_MIN_PIXELS: Final = 24
_CLOSING: Final = 2  # pixels; things keep more than twice this apart
_MIN_OWN: Final = 0.25  # of a silhouette that its own paint and pattern must cover
_MAX_FOREIGN: Final = 0.5  # of a silhouette that other paints may cover


@dataclass(frozen=True, slots=True)
class Candidate:
    """A patch that may be a thing.

    Attributes:
        colour: Its paint.
        top: First row of its crop, which has a margin of one pixel and so may begin at -1.
        left: First column of its crop.
        filled: The silhouette with all holes filled, bool (h, w), False along the margin.
    """

    colour: Colour
    top: int
    left: int
    filled: Mask

    def crop(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what an (H, W) or (H, W, n) plane shows in the crop; the margin outside the plane repeats its edge."""
        height, width = self.filled.shape
        rows = np.clip(np.arange(self.top, self.top + height), 0, plane.shape[0] - 1)
        columns = np.clip(np.arange(self.left, self.left + width), 0, plane.shape[1] - 1)
        return np.asarray(plane[rows[:, None], columns])

    def on_canvas(self, mask: Mask, shape: tuple[int, int]) -> Mask:
        """Return a mask of the crop's shape, without its margin, as one of a whole picture of `shape` (H, W)."""
        canvas = np.zeros(shape, np.bool_)
        inner = mask[1:-1, 1:-1]
        canvas[self.top + 1 : self.top + 1 + inner.shape[0], self.left + 1 : self.left + 1 + inner.shape[1]] = inner
        return canvas


def classify_pixels(rgb: Pixels) -> Pixels:
    """Return the class of each pixel of an (H, W, 3) picture, uint8 (H, W).

    A class is an index into THING_COLOURS, PATTERN_CLASS, or BACKGROUND_CLASS.
    """
    coarse = rgb >> (8 - _BITS)
    codes = coarse[..., 0].astype(np.uint16)
    codes <<= _BITS
    codes |= coarse[..., 1]
    codes <<= _BITS
    codes |= coarse[..., 2]
    return np.take(_class_table(), codes)


@cache
def _class_table() -> Pixels:
    """Return the nearest class of every coarse colour, uint8 (2 ** (3 * _BITS),)."""
    entries = [(PAINT[colour], index) for index, colour in enumerate(THING_COLOURS)]
    entries.append((PATTERN, PATTERN_CLASS))
    for colour in Colour:
        for shade in (-1.0, 0.0, 1.0):
            entries += [(tone, BACKGROUND_CLASS) for tone in shaded_tones(Background(colour, shade=shade))]
    levels = (np.arange(1 << _BITS) + 0.5) * (1 << (8 - _BITS))
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    best = np.full(len(cube), np.inf)
    table = np.zeros(len(cube), np.uint8)
    for tone, index in entries:
        distance = ((cube - tone) ** 2).sum(axis=1)
        table[distance < best] = index
        np.minimum(best, distance, out=best)
    return table


def open_background(classes: Pixels) -> Pixels:
    """Return the classes with a background that is painted like a thing, or white like a pattern, marked as such.

    Our own backgrounds never are, other people's are mostly white: what takes up more than half of the picture's border
    is background. White within a thing may be its pattern, so only white that is connected with the border is meant:
    the hole of a ring on white stays white paint.
    """
    border = np.concatenate([classes[0], classes[-1], classes[1:-1, 0], classes[1:-1, -1]])
    value = int(np.bincount(border).argmax())
    if value == BACKGROUND_CLASS or np.count_nonzero(border == value) <= len(border) / 2:
        return classes
    if value != PATTERN_CLASS:
        return np.where(classes == value, np.uint8(BACKGROUND_CLASS), classes)
    labels, count = ndimage.label(classes == value)
    touching = np.zeros(count + 1, np.bool_)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touching[edge] = True
    touching[0] = False
    return np.where(touching[labels], np.uint8(BACKGROUND_CLASS), classes)


def find_candidates(classes: Pixels) -> list[Candidate]:
    """Return the candidates of a picture, given the classes of its pixels, the largest silhouette first."""
    least = max(_MIN_PIXELS, round(classes.size * _MIN_SHARE))
    counts = np.bincount(classes.ravel(), minlength=BACKGROUND_CLASS + 1)
    found: list[Candidate] = []
    for index in range(len(THING_COLOURS)):
        if counts[index] >= least:
            found += _candidates_of(index, classes, least)
    found.sort(key=lambda candidate: int(np.count_nonzero(candidate.filled)), reverse=True)
    return found


def _candidates_of(index: int, classes: Pixels, least: int) -> list[Candidate]:
    paint = classes == index
    own = paint | (classes == PATTERN_CLASS)
    # Pixels that are half paint and half pattern look like neither; growing closes those gaps.
    labels, count = ndimage.label(grown(own, _CLOSING))
    painted = np.bincount(labels[paint], minlength=count + 1)
    boxes = ndimage.find_objects(labels)
    found = []
    for label in np.flatnonzero(painted >= least):
        rows, columns = boxes[label - 1]
        patch = np.pad(labels[rows, columns] == label, 1)
        filled = shrunk(_fill_holes(patch), _CLOSING)
        seen = classes[rows, columns][filled[1:-1, 1:-1]]
        area = len(seen)
        if area < least:
            continue
        own_share = np.count_nonzero((seen == index) | (seen == PATTERN_CLASS)) / area
        foreign_share = np.count_nonzero((seen < PATTERN_CLASS) & (seen != index)) / area
        if own_share >= _MIN_OWN and foreign_share <= _MAX_FOREIGN and not _is_thin(filled, area):
            found.append(Candidate(THING_COLOURS[index], rows.start - 1, columns.start - 1, filled))
    return found


def shrunk(mask: Mask, steps: int) -> Mask:
    """Return the mask without its outermost `steps` pixels; a mask's border counts as outside."""
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask


def grown(mask: Mask, steps: int) -> Mask:
    """Return the mask with `steps` pixels added all around."""
    for _ in range(steps):
        padded = np.pad(mask, 1)
        mask = mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask


def _fill_holes(patch: Mask) -> Mask:
    """Fill what the patch encloses; its margin must be False, so that the outside is one region."""
    outside, _ = ndimage.label(~patch)
    return np.asarray(outside != outside[0, 0])


def _is_thin(filled: Mask, area: int) -> bool:
    """Whether the patch is a line: the soft edge between two colours looks like a third one, one pixel wide."""
    return int(np.count_nonzero(shrunk(filled, 1))) < 0.25 * area
