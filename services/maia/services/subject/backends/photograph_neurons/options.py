"""What may be chosen about synthetic neurons on photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAME: Final = "synthetic_neurons"
"""What `--model` takes."""

DETECTOR: Final = "IDEA-Research/grounding-dino-tiny"
SEGMENTER: Final = "facebook/sam-vit-base"
BOX_THRESHOLD: Final = 0.25
TEXT_THRESHOLD: Final = 0.3


@dataclass(frozen=True, slots=True)
class PhotographOptions:
    """Which units there are, and what finds their concepts.

    Attributes:
        labels: Folder with `mono.json`, `or.json` and `and.json`, or some of them.
        detector: A GroundingDINO: a repository of the Hub, or a folder.
        segmenter: A SAM: a repository of the Hub, or a folder.
        box_threshold: Score, 0 to 1, that a box must exceed.
        text_threshold: Score, 0 to 1, that each word of the concept must exceed in that box.
    """

    labels: Path | None = None
    detector: str = DETECTOR
    segmenter: str = SEGMENTER
    box_threshold: float = BOX_THRESHOLD
    text_threshold: float = TEXT_THRESHOLD
