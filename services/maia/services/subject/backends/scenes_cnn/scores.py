"""How well a network recognises each kind of concept, on scenes that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from maia.services.subject.backends.scenes_cnn.examples import Examples
from maia.services.subject.backends.scenes_cnn.network import SceneNetwork, normalise
from maia.services.subject.backends.scenes_cnn.targets import HEADS, columns

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Score:
    """How well one head answers "is it there?", one question per picture and concept.

    Attributes:
        accuracy: Share of right answers. Most answers are "no", so see `f1` too.
        f1: Harmonic mean of precision and recall of the "yes" answers, over all concepts of the head together.
    """

    accuracy: float
    f1: float


def score(network: SceneNetwork, examples: Examples) -> dict[str, Score]:
    """Return the score of each head, by its name in `targets.HEADS`; the network is left in evaluation mode."""
    answers = predict(network, examples.pixels) > 0.0
    return {head: _score(answers[:, columns(head)], examples.present[:, columns(head)]) for head in HEADS}


def predict(network: SceneNetwork, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return the logits, float32, (pictures, concepts), of uint8 pixels, (pictures, side, side, 3)."""
    network.eval()
    with torch.inference_mode():
        starts = range(0, len(pixels), _BATCH)
        batches = [network(normalise(torch.from_numpy(pixels[start : start + _BATCH]))) for start in starts]
    logits: npt.NDArray[np.float32] = torch.cat(batches).numpy()
    return logits


def _score(answers: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> Score:
    hits = np.count_nonzero(answers & truth)
    said = np.count_nonzero(answers) + np.count_nonzero(truth)
    return Score(accuracy=float(np.mean(answers == truth)), f1=float(2 * hits / said) if said else 1.0)
