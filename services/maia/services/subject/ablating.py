"""What a classifier makes of pictures while a unit is held at a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from maia.services._runtime.jobs import Abandoned, Job, Key
from maia.services._runtime.queue import BatchQueue
from maia.services.subject.model import Ablation, Classifier, Input
from maia.type.v1 import type_pb2
from maia.wire.pictures import decode_picture

__all__ = ["AblationQueue", "Ask", "Probabilities", "ablation_job"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One picture to classify.

    Attributes:
        classifier: Classifies.
        ablation: What to hold.
        picture: As it came.
        index: Its place in the request, for errors.
    """

    classifier: Classifier
    ablation: Ablation
    picture: type_pb2.Picture
    index: int


@dataclass(frozen=True, slots=True)
class Probabilities:
    """float32, (classes,) each: with the unit as it is, and with it held."""

    before: NDArray[np.float32]
    after: NDArray[np.float32]


_Ready: TypeAlias = tuple[Ask, Input]
AblationQueue: TypeAlias = BatchQueue[Ask, _Ready, Probabilities]


def ablation_job() -> Job[Ask, _Ready, Probabilities]:
    """Return what the queue does; a key is of one classifier and one ablation."""

    def prepare(ask: Ask) -> _Ready:
        return ask, ask.classifier.prepare(decode_picture(ask.picture, index=ask.index))

    def run(_key: Key, ready: Sequence[_Ready], _abandoned: Abandoned) -> list[Probabilities]:
        ask, inputs = ready[0][0], [one for _, one in ready]
        before, after = ask.classifier.classify(inputs), ask.classifier.classify(inputs, ask.ablation)
        return [Probabilities(one, other) for one, other in zip(before, after, strict=True)]

    return Job(prepare, run, "classifying")
