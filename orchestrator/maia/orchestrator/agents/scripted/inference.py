"""Which hypothesis explains what was measured, and which pictures would tell the best ones apart.

A hypothesis splits the pictures into those that should drive the unit and those that should not. Its score is the share
of the activations' variance that this split explains (R²), less a small price for every attribute and for a second
concept, so that of equals the simplest wins. With the 0/1 matrix of which picture holds which concept, the counts and
sums of all pairs of concepts are matrix products, so all of some 40,000 hypotheses are scored at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from maia.orchestrator.agents.scripted.concepts import Concept, Hypothesis, Thing, Vocabulary

ATTRIBUTE_PRICE: Final = 0.004
SECOND_CONCEPT_PRICE: Final = 0.02
THINGS_A_SCENE: Final = 2.5
"""How many things a dataset picture holds on average, as far as the agent may guess."""
MISSED: Final = 1e-3
"""How likely a top picture is that does not fit a hypothesis."""
TEMPERATURE: Final = 0.03
"""A hypothesis whose score is this much lower counts e times less when the next pictures are chosen."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A picture of some things and what the unit made of it."""

    things: tuple[Thing, ...]
    activation: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A hypothesis, how much of the variance it explains, and the score that ranks it."""

    hypothesis: Hypothesis
    explained: float
    score: float


def rank(vocabulary: Vocabulary, observations: Sequence[Observation], top: int = 24) -> list[Scored]:
    """Return the best hypotheses, best first; none when all activations are equal."""
    concepts = vocabulary.concepts()
    holds = _holds(concepts, observations)
    activations = np.array([observation.activation for observation in observations], dtype=np.float64)
    if len(observations) < 2 or not np.ptp(activations) > 0:
        return []
    prices = np.array([ATTRIBUTE_PRICE * concept.attributes for concept in concepts])
    pair_prices = prices[:, None] + prices[None, :] + SECOND_CONCEPT_PRICE
    counts_and = holds @ holds.T
    sums_and = (holds * activations) @ holds.T
    counts, sums = np.diag(counts_and), np.diag(sums_and)
    upper = np.triu(np.ones(counts_and.shape, dtype=bool), 1)
    ranked: list[Scored] = []

    def add(explained: NDArray[np.float64], price: NDArray[np.float64], join: Literal["or", "and"] | None) -> None:
        scores = explained - price
        for flat in np.argsort(-scores, axis=None, kind="stable")[:top]:
            where = np.unravel_index(flat, scores.shape)
            if np.isfinite(scores[where]):
                hypothesis = Hypothesis(concepts[where[0]], join, concepts[where[1]] if join else None)
                ranked.append(Scored(hypothesis, float(explained[where]), float(scores[where])))

    add(_explained(counts, sums, activations), prices, None)
    add(np.where(upper, _explained(counts_and, sums_and, activations), -np.inf), pair_prices, "and")
    counts_or = counts[:, None] + counts[None, :] - counts_and
    sums_or = sums[:, None] + sums[None, :] - sums_and
    add(np.where(upper, _explained(counts_or, sums_or, activations), -np.inf), pair_prices, "or")
    ranked.sort(key=lambda scored: (-scored.score, str(scored.hypothesis)))
    return ranked[:top]


def _holds(concepts: Sequence[Concept], observations: Sequence[Observation]) -> NDArray[np.float64]:
    return np.array(
        [[any(concept.fits(thing) for thing in seen.things) for seen in observations] for concept in concepts],
        dtype=np.float64,
    )


def _explained(
    counts: NDArray[np.float64], sums: NDArray[np.float64], activations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the R² of a split in two groups; -inf where a group is empty or the on group is the lower one."""
    total, number = activations.sum(), len(activations)
    others = number - counts
    possible = (counts > 0) & (others > 0)
    on = np.divide(sums, counts, out=np.zeros_like(sums), where=possible)
    off = np.divide(total - sums, others, out=np.zeros_like(sums), where=possible)
    mean = total / number
    between = counts * (on - mean) ** 2 + others * (off - mean) ** 2
    spread = ((activations - mean) ** 2).sum()
    return np.where(possible & (on > off), between / spread, -np.inf)


def likely(vocabulary: Vocabulary, exemplars: Sequence[Observation], top: int = 3) -> list[Hypothesis]:
    """Return the hypotheses under which the exemplars are most likely, best first.

    The size principle: a hypothesis that few scenes fit by chance explains an exemplar that fits it better than one
    that many scenes fit. Activations play no part, since all exemplars are high.
    """
    concepts = vocabulary.concepts()
    holds = _holds(concepts, exemplars)
    rates = np.array([1 - (1 - _share(concept, vocabulary)) ** THINGS_A_SCENE for concept in concepts])
    number = len(exemplars)
    both = holds @ holds.T
    single = np.diag(both)
    either = single[:, None] + single[None, :] - both

    def likelihood(covered: NDArray[np.float64], rate: NDArray[np.float64]) -> NDArray[np.float64]:
        explained: NDArray[np.float64] = -covered * np.log(rate) + (number - covered) * np.log(MISSED)
        return explained

    # "red and red circle" is no more than "red circle".
    apart = np.array([[not (one.implies(other) or other.implies(one)) for other in concepts] for one in concepts])
    upper = np.triu(apart, 1)
    rate_or = 1 - (1 - rates[:, None]) * (1 - rates[None, :])
    found: list[tuple[float, Hypothesis]] = []
    tables: list[tuple[NDArray[np.float64], Literal["or", "and"] | None]] = [
        (likelihood(single, rates), None),
        (np.where(upper, likelihood(both, rates[:, None] * rates[None, :]), -np.inf), "and"),
        (np.where(upper, likelihood(either, rate_or), -np.inf), "or"),
    ]
    for scores, join in tables:
        for flat in np.argsort(-scores, axis=None, kind="stable")[:top]:
            where = np.unravel_index(flat, scores.shape)
            second = concepts[where[1]] if join else None
            found.append((float(scores[where]), Hypothesis(concepts[where[0]], join, second)))
    found.sort(key=lambda pair: -pair[0])
    return [hypothesis for _, hypothesis in found[:top]]


def _share(concept: Concept, vocabulary: Vocabulary) -> float:
    """How many things have a concept by chance."""
    attributes = (
        (concept.colour, vocabulary.colours),
        (concept.texture, vocabulary.textures),
        (concept.shape, vocabulary.shapes),
    )
    return math.prod(1 / len(values) for value, values in attributes if value is not None)


def telling_pictures(
    vocabulary: Vocabulary, ranked: Sequence[Scored], number: int, seed: int, seen: set[tuple[Thing, ...]]
) -> list[tuple[Thing, ...]]:
    """Choose pictures on which the best hypotheses disagree.

    Pictures hold one or two things that have, or just miss, what the hypotheses speak of. Each next picture is the one
    that separates most pairs of likely hypotheses, pairs that are already separated counting less.

    Args:
        vocabulary: What can be drawn.
        ranked: From `rank`.
        number: How many at most; fewer when no picture tells more apart.
        seed: Chooses the attributes that no hypothesis cares for.
        seen: Pictures measured before.
    """
    rng = np.random.default_rng(seed)
    hypotheses = [scored.hypothesis for scored in ranked]
    scores = np.array([scored.score for scored in ranked])
    weights = np.exp((scores - scores.max()) / TEMPERATURE)
    candidates = [picture for picture in _candidates(vocabulary, hypotheses, rng) if picture not in seen]
    if not candidates:
        return []
    predicted = np.array([[hypothesis.predicts(picture) for hypothesis in hypotheses] for picture in candidates])
    separates = predicted[:, :, None] != predicted[:, None, :]
    importance = np.outer(weights, weights)
    chosen: list[tuple[Thing, ...]] = []
    free = np.ones(len(candidates), dtype=bool)
    for _ in range(number):
        gains = np.where(free, (separates * importance).sum(axis=(1, 2)), 0.0)
        best = int(np.argmax(gains))
        if gains[best] <= 1e-9:
            break
        chosen.append(candidates[best])
        free[best] = False
        importance = np.where(separates[best], importance / 2, importance)
    return chosen


def _candidates(
    vocabulary: Vocabulary, hypotheses: Sequence[Hypothesis], rng: np.random.Generator
) -> list[tuple[Thing, ...]]:
    things: list[Thing] = []
    concepts = dict.fromkeys(concept for hypothesis in hypotheses for concept in hypothesis.concepts)
    for concept in list(concepts)[:16]:
        things += [_filled(concept, vocabulary, rng) for _ in range(3)]
    things += [_filled(Concept(), vocabulary, rng) for _ in range(6)]
    pairs = [(things[int(i)], things[int(j)]) for i, j in rng.integers(len(things), size=(400, 2)) if i != j]
    return list(dict.fromkeys([*((thing,) for thing in things), *pairs]))


def _filled(concept: Concept, vocabulary: Vocabulary, rng: np.random.Generator) -> Thing:
    return Thing(
        concept.colour or str(rng.choice(vocabulary.colours)),
        concept.texture or str(rng.choice(vocabulary.textures)),
        concept.shape or str(rng.choice(vocabulary.shapes)),
    )
