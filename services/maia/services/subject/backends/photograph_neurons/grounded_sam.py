"""GroundingDINO and SAM together; a `detecting.Detector`.

A picture never shares a pass with another, so that its answer is the same to the bit alone and in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from maia.services.subject.backends.photograph_neurons.detecting import Detection, Sight
from maia.services.subject.backends.photograph_neurons.grounding import Grounding
from maia.services.subject.backends.photograph_neurons.segmenting import Prepared, Segmenter
from maia.wire.pictures import Rgb

_LONGEST: Final = 16
"""How many times longer than wide a picture may be; of a longer one, either model would see a side of no pixels."""


@dataclass(frozen=True, slots=True)
class _Sight:
    for_grounding: NDArray[np.float32]
    for_segmenting: Prepared


class GroundedSam:
    """Finds boxes with one model and what is in them with the other.

    Args:
        grounding: Finds boxes.
        segmenter: Finds what is in them.
        revision: Of both.
        nbytes: Of the weights of both.
    """

    def __init__(self, grounding: Grounding, segmenter: Segmenter, revision: str, nbytes: int) -> None:
        self._grounding = grounding
        self._segmenter = segmenter
        self._revision = revision
        self._nbytes = nbytes

    @property
    def revision(self) -> str:
        """Of weights, settings and libraries."""
        return self._revision

    @property
    def nbytes(self) -> int:
        """The memory that the weights take."""
        return self._nbytes

    def check(self, concepts: Sequence[str]) -> None:
        """Refuse what cannot be looked for, as the protocol says."""
        for concept in concepts:
            self._grounding.prompt(concept)

    def prepare(self, rgb: Rgb) -> Sight:
        """Resize and normalise a picture for both."""
        height, width = rgb.shape[:2]
        least = -(-max(height, width) // _LONGEST)
        if min(height, width) < least:
            stretched = Image.fromarray(rgb).resize((max(width, least), max(height, least)))
            rgb = np.asarray(stretched)
        return _Sight(self._grounding.prepare(rgb), self._segmenter.prepare(rgb))

    def detect(self, sight: Sight, concepts: Sequence[str]) -> Mapping[str, Sequence[Detection]]:
        """Look for concepts, as the protocol says."""
        seen = cast("_Sight", sight)
        with torch.inference_mode():
            boxes = self._grounding.find(seen.for_grounding, concepts)
            together = [box for concept in concepts for box in boxes[concept]]
            outlines = iter(self._segmenter.outlines(seen.for_segmenting, together))
        return {
            concept: [Detection(box.score, outline) for box, outline in zip(boxes[concept], outlines, strict=False)]
            for concept in concepts
        }
