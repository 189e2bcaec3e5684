"""Views and questions to ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.unit.services.runtime.pictures import noise

from maia.description.v1 import description_pb2
from maia.services.description.model import Question, Task, View
from maia.wire.maps import mask_to_proto
from maia.wire.pictures import encode_png, png_picture

SIZES: Sequence[tuple[int, int]] = ((40, 40), (100, 30), (64, 64), (33, 90), (200, 200))


def upper_half(width: int, height: int) -> NDArray[np.bool_]:
    mask = np.zeros((height, width), np.bool_)
    mask[: height // 2] = True
    return mask


def views() -> list[View]:
    """Pictures of several shapes; every other one is masked."""
    return [View(noise(number, *size), upper_half(*size) if number % 2 else None) for number, size in enumerate(SIZES)]


def described(*wanted: View) -> list[Question]:
    return [Question(Task.DESCRIBE, (view,), index) for index, view in enumerate(wanted)]


def item(seed: int, mask: NDArray[np.bool_] | None = None, size: tuple[int, int] = (24, 16)) -> Any:
    picture = png_picture(encode_png(noise(seed, *size)))
    return description_pb2.DescribeItem(picture=picture, mask=None if mask is None else mask_to_proto(mask))
