"""What a layer answered to a batch, as one tensor of all its units."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from maia.services.subject.backends.networks.answers import LayerAnswers
from maia.services.subject.model import Answers

__all__ = ["layer_values"]


def layer_values(answers: Answers, pictures: int, units: int) -> Tensor:
    """Return all units' maps of a batch.

    Args:
        answers: Of one layer.
        pictures: How many the batch has.
        units: How many the layer has.

    Returns:
        float32, (pictures, places, units), where the pass left it, without a copy if that can be.
    """
    if isinstance(answers, LayerAnswers):
        return answers.layout.values(answers.output).float()
    maps = np.stack([answers.maps(row, range(units)) for row in range(pictures)])
    return torch.from_numpy(maps).flatten(2).transpose(1, 2)
