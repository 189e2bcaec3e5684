"""What is seen, in words regular enough to be read by a program.

phrase    "large red striped circle"
caption   "large red striped circle, small blue star on a plain grey background"
summary   "all 15: red; most: circle (12 of 15); some: striped (5 of 15)"
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from maia.services.scenes.scene import Background, Texture

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from maia.services.scenes.scene import Thing
    from maia.services.scenes.segment import Region, Segmentation

NOTHING: Final = "nothing"
"""What a caption says of a mask without any pixel."""

_MIN_SHARE_OF_THING: Final = 0.5
_MIN_SHARE_OF_MASK: Final = 0.25
_SOME: Final = 0.25  # the least share of captions for an attribute to be worth a word


def phrase(thing: Thing | Region) -> str:
    """Return [size] [colour] [texture] [shape]; the texture "solid" is left out."""
    texture = "" if thing.texture is Texture.SOLID else f"{thing.texture} "
    return f"{thing.size} {thing.colour} {texture}{thing.shape}"


def background_phrase(background: Background) -> str:
    """Return "plain grey background" or, with a texture, "green striped background"."""
    if background.texture is Texture.SOLID:
        return f"plain {background.colour} background"
    return f"{background.colour} {background.texture} background"


def regions_in(segmentation: Segmentation, mask: NDArray[np.bool_] | None) -> tuple[Region, ...]:
    """Return the things that lie in a mask.

    A thing does if at least half of its pixels are in the mask, or at least a quarter of the mask's pixels are on it.

    Args:
        segmentation: What is on the picture.
        mask: bool (H, W), the size of the picture; None takes everything.

    Raises:
        ValueError: The mask has another type or shape.
    """
    if mask is None:
        return segmentation.regions
    if mask.dtype != np.bool_ or mask.shape != (segmentation.height, segmentation.width):
        raise ValueError(f"a mask {mask.dtype} {mask.shape}; use bool ({segmentation.height}, {segmentation.width})")
    covered = int(np.count_nonzero(mask))
    found = []
    for region in segmentation.regions:
        shared = int(np.count_nonzero(region.mask & mask))
        own = int(np.count_nonzero(region.mask))
        if shared and (shared >= _MIN_SHARE_OF_THING * own or shared >= _MIN_SHARE_OF_MASK * covered):
            found.append(region)
    return tuple(found)


def caption(segmentation: Segmentation, mask: NDArray[np.bool_] | None = None) -> str:
    """Return what a picture, or the part of it in a mask, shows.

    Returns:
        For a whole picture "PHRASE, PHRASE on a BACKGROUND", the largest thing first. For a mask the phrases of the
        things in it alone; if there are none, the background; NOTHING for an empty mask.

    Raises:
        ValueError: The mask has another type or shape.
    """
    things = ", ".join(phrase(region) for region in regions_in(segmentation, mask))
    background = background_phrase(segmentation.background)
    if mask is None:
        return f"{things} on a {background}" if things else background
    if things:
        return things
    return background if mask.any() else NOTHING


def summary(seen: Sequence[tuple[Segmentation, NDArray[np.bool_] | None]]) -> str:
    """Return what several pictures, or parts of them, have in common.

    Args:
        seen: What is on each picture, and the mask of the part that counts; None is the whole picture.

    Returns:
        Up to three lists joined by "; ": "all N: …" what every one has, "most: … (K of N)" what more than half have,
        and "some: … (K of N)" what at least a quarter and at least two have; or "nothing in common". What is counted
        is, once for each picture, the colour, the texture unless solid, and the shape of the things in it, and the
        background where there are no things. Sorted by frequency, then alphabet.

    Raises:
        ValueError: A mask has another type or shape.
    """
    counts: Counter[str] = Counter()
    for segmentation, mask in seen:
        counts.update(_attributes(segmentation, mask))
    total = len(seen)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    every = [word for word, count in ranked if count == total]
    most = [f"{word} ({count} of {total})" for word, count in ranked if total / 2 < count < total]
    least = max(2.0, _SOME * total)
    some = [f"{word} ({count} of {total})" for word, count in ranked if least <= count <= total / 2]
    parts = [_part(f"all {total}", every), _part("most", most), _part("some", some)]
    return "; ".join(part for part in parts if part) or "nothing in common"


def _attributes(segmentation: Segmentation, mask: NDArray[np.bool_] | None) -> set[str]:
    regions = regions_in(segmentation, mask)
    if not regions:
        shown = mask is None or bool(mask.any())
        return {background_phrase(segmentation.background)} if shown else set()
    words = {region.shape.value for region in regions} | {region.colour.value for region in regions}
    return words | {region.texture.value for region in regions if region.texture is not Texture.SOLID}


def _part(name: str, words: Iterable[str]) -> str:
    listed = ", ".join(words)
    return f"{name}: {listed}" if listed else ""
