"""Whether hypotheses foretell what comes next, which no unit without a pattern lets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from maia.orchestrator.agents.scripted.concepts import Vocabulary
from maia.orchestrator.agents.scripted.inference import Observation, rank, varied

SHUFFLES: Final = 999
CHANCE: Final = 0.005
"""How often a unit without a pattern may be taken for one that has one."""


def foretold(
    vocabulary: Vocabulary, known: Sequence[Observation], rounds: Sequence[Sequence[Observation]], seed: int = 0
) -> bool:
    """Tell whether the best hypothesis before each round foretold which of its pictures would drive the unit.

    With some hundred thousand hypotheses, one of them explains a part of any noise behind it, but none what is still to
    come. A permutation test: the covariance of prediction and activation, summed over the rounds, against that of
    activations shuffled within each round.

    Args:
        vocabulary: What hypotheses are made of.
        known: What was observed before the first round.
        rounds: What was observed in each.
        seed: Of the shuffles.

    Returns:
        True also when there are no rounds, or all their pictures got one answer, so that nothing could be foretold.
    """
    if not varied([observation for seen in rounds for observation in seen]):
        return True
    rng = np.random.default_rng(seed)
    reached, shuffled = 0.0, np.zeros(SHUFFLES)
    before = list(known)
    for seen in rounds:
        ranked = rank(vocabulary, before, top=1)
        if ranked:
            predicted = np.array([ranked[0].hypothesis.predicts(one.picture) for one in seen], dtype=np.float64)
            activations = np.array([one.activation for one in seen])
            centred = predicted - predicted.mean()
            reached += float(centred @ activations)
            shuffled += rng.permuted(np.tile(activations, (SHUFFLES, 1)), axis=1) @ centred
        before += seen
    at_least = np.count_nonzero(shuffled >= reached - 1e-9)
    return bool((1 + at_least) / (1 + SHUFFLES) <= CHANCE)
