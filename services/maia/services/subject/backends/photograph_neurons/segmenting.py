"""SAM: boxes in, what is in them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maia.services.subject.backends.photograph_neurons.detecting import MAP_SIDE, Map
from maia.services.subject.backends.photograph_neurons.grounding import Box

_BOXES: Final = 16
"""Most boxes at a time: each has a mask of SAM's whole input, four megabytes."""

_EDGE: Final = 0.3
"""Share of a cell, relative to the fullest, up to which the cell is outside."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture as SAM takes it.

    Attributes:
        pixels: float32, (1, 3, side, side), padded at the right or below.
        height: Of the part that is the picture, in pixels.
        width: Of that part.
    """

    pixels: NDArray[np.float32]
    height: int
    width: int


class Segmenter:
    """Finds what is in boxes.

    Args:
        model: A `transformers.SamModel` in evaluation mode, on its device.
        processor: Of its pictures; works with Pillow.
    """

    def __init__(self, model: Any, processor: Any) -> None:  # noqa: ANN401  transformers' classes have no types
        self._model = model
        self._processor = processor

    def prepare(self, rgb: NDArray[np.uint8]) -> Prepared:
        """Resize, normalise and pad a picture."""
        made = self._processor(images=[rgb], input_data_format="channels_last", return_tensors="np")
        height, width = made["reshaped_input_sizes"][0].tolist()
        return Prepared(np.asarray(made["pixel_values"], np.float32), height, width)

    def outlines(self, picture: Prepared, boxes: Sequence[Box]) -> list[Map]:
        """Return where the thing in each box is, in inference mode; the picture is encoded once.

        Returns:
            As `Detection.outline`. Where SAM finds nothing in a box, the box stands for it.
        """
        if not boxes:
            return []
        device = self._model.device
        features = self._model.get_image_embeddings(torch.from_numpy(picture.pixels).to(device))
        found: list[Map] = []
        for start in range(0, len(boxes), _BOXES):
            some = boxes[start : start + _BOXES]
            for box, cells in zip(some, self._coverage(picture, features, some), strict=True):
                found.append(_outline(cells if cells.any() else _cells_of(box)))
        return found

    def _coverage(self, picture: Prepared, features: Tensor, boxes: Sequence[Box]) -> Map:
        """Which share of each cell is inside: float32, (boxes, MAP_SIDE, MAP_SIDE)."""
        height, width = picture.height, picture.width
        corners = [[box.left * width, box.top * height, box.right * width, box.bottom * height] for box in boxes]
        outputs = self._model(
            image_embeddings=features,
            input_boxes=torch.tensor([corners], device=features.device),
            multimask_output=False,
        )
        masks = torch.nn.functional.interpolate(
            outputs.pred_masks[0].float(), picture.pixels.shape[2:], mode="bilinear", align_corners=False
        )
        inside = (masks[..., :height, :width] > 0).float()
        cells: Map = torch.nn.functional.adaptive_avg_pool2d(inside, (MAP_SIDE, MAP_SIDE))[:, 0].cpu().numpy()
        return cells


def _outline(cells: Map) -> Map:
    """Relative to the fullest cell, falling to 0 at the edge, so that a thing smaller than a cell counts in full too.

    Args:
        cells: Which share of each is inside; not all are 0.
    """
    inside: Map = (cells / cells.max() - np.float32(_EDGE)) / np.float32(1 - _EDGE)
    return np.clip(inside, 0.0, 1.0)


def _cells_of(box: Box) -> Map:
    """Which share of each cell a box covers."""
    edges = np.arange(MAP_SIDE + 1) / MAP_SIDE

    def along(start: float, stop: float) -> NDArray[np.float64]:
        inside: NDArray[np.float64] = np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start)
        return np.clip(inside, 0, None) * MAP_SIDE

    return np.outer(along(box.top, box.bottom), along(box.left, box.right)).astype(np.float32)
