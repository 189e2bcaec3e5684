"""How things on a picture stand to each other, judged by what is seen of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import ndimage

from maia.services.scenes.scene import Relation

if TYPE_CHECKING:
    from maia.services.scenes.segment import Region

_WITHIN: Final = 0.9  # of a thing's pixels must lie on another, for edges are blurred


def stands(one: Region, relation: Relation, other: Region) -> bool:
    """Whether one thing stands so to another thing of the same picture.

    Left, right, above and below: the boxes do not overlap in that direction, and the middles of the boxes are at least
    as far apart in it as across it, so that of these four at most one holds, or two for things exactly on a diagonal.
    Inside: on the other thing or in its hole.

    Args:
        one: The subject.
        relation: All but NEXT_TO.
        other: The object.

    Raises:
        ValueError: The relation is NEXT_TO, which says too little to be judged.
    """
    match relation:
        case Relation.LEFT_OF:
            return _before(one, other, axis=0)
        case Relation.RIGHT_OF:
            return _before(other, one, axis=0)
        case Relation.ABOVE:
            return _before(one, other, axis=1)
        case Relation.BELOW:
            return _before(other, one, axis=1)
        case Relation.INSIDE:
            return _inside(one, other)
        case Relation.NEXT_TO:
            raise ValueError("'next to' cannot be judged; use left of, right of, above, below or inside")


def _before(one: Region, other: Region, *, axis: int) -> bool:
    """Whether the first box ends before the second begins, mainly along an axis, 0 being across and 1 down."""
    apart = [abs(other.box[i] + other.box[i + 2] - one.box[i] - one.box[i + 2]) for i in (0, 1)]
    return one.box[axis + 2] <= other.box[axis] and apart[axis] >= apart[1 - axis]


def _inside(one: Region, other: Region) -> bool:
    left, top, right, bottom = other.box
    boxed = left <= one.box[0] and top <= one.box[1] and one.box[2] <= right and one.box[3] <= bottom
    if one is other or not boxed:
        return False
    filled = ndimage.binary_fill_holes(other.mask[top:bottom, left:right])
    own = one.mask[top:bottom, left:right]
    return bool(np.count_nonzero(own & filled) >= _WITHIN * np.count_nonzero(own))
