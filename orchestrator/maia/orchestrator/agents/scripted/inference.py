"""Which hypothesis explains what was measured.

A hypothesis splits the pictures into those that should drive the unit and those that should not. Its score is the share
of the activations' variance that this split explains (R²), less a small price for every attribute and for what joins
concepts, so that of equals the simplest wins. With the 0/1 matrix of which picture holds which concept, the counts and
sums of all pairs of concepts are matrix products, so all of some 160,000 hypotheses are scored at once. What has three
concepts or a relation is scored only where it extends one of the best pairs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maia.orchestrator.agents.scripted.concepts import Concept, Picture, Vocabulary
from maia.orchestrator.agents.scripted.hypotheses import MOST_COUNTED, Form, Hypothesis, rivals

ATTRIBUTE_PRICE: Final = 0.004
JOINT_PRICE: Final[dict[Form, float]] = {
    "mono": 0.0, "or": 0.02, "and": 0.02, "andnot": 0.025, "count": 0.025, "relation": 0.03,
}  # fmt: skip
"""Of a second concept, or a third, and of a number."""
EXTENDED: Final = 24
"""So many of the best pairs are tried with a third concept."""
ARRANGED: Final = 6
"""So many of the best hypotheses are tried in other forms."""
THINGS_A_SCENE: Final = 2.5
"""How many things a dataset picture holds on average, as far as the agent may guess."""
MISSED: Final = 1e-3
"""How likely a top picture is that does not fit a hypothesis."""

_Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Observation:
    """A picture and what the unit made of it."""

    picture: Picture
    activation: float


@dataclass(frozen=True, slots=True)
class Scored:
    """A hypothesis, how much of the variance it explains, and the score that ranks it."""

    hypothesis: Hypothesis
    explained: float
    score: float


def rank(vocabulary: Vocabulary, observations: Sequence[Observation], top: int = 24) -> list[Scored]:
    """Return the best hypotheses, best first, and the rivals of the very best; none when all activations are equal."""
    if not varied(observations):
        return []
    tables = _Tables(vocabulary, [observation.picture for observation in observations])
    activations = np.array([observation.activation for observation in observations], dtype=np.float64)
    found = _best_by_tables(tables, activations, top)
    either = [scored.hypothesis for scored in found if scored.hypothesis.form == "or"][:EXTENDED]
    found += _with_a_third(tables, activations, either, top)
    others = (rival for scored in _sorted(found)[:ARRANGED] for rival in rivals(vocabulary, scored.hypothesis))
    found += _scored(tables.pictures, activations, dict.fromkeys(others))
    ranked = _sorted(found)
    beside = set(rivals(vocabulary, ranked[0].hypothesis)) if ranked else set()
    return ranked[:top] + [scored for scored in ranked[top:] if scored.hypothesis in beside]


def varied(observations: Sequence[Observation]) -> bool:
    """Tell whether the unit did not answer all pictures alike."""
    return len({observation.activation for observation in observations}) > 1


def _sorted(found: Iterable[Scored]) -> list[Scored]:
    once = {scored.hypothesis: scored for scored in found}
    return sorted(once.values(), key=lambda scored: (-scored.score, str(scored.hypothesis)))


def _price(hypothesis: Hypothesis) -> float:
    joints = max(len(hypothesis.concepts) - 1, hypothesis.least - 1)
    attributes = sum(concept.attributes for concept in hypothesis.concepts)
    return ATTRIBUTE_PRICE * attributes + JOINT_PRICE[hypothesis.form] * joints


class _Tables:
    """How many pictures each hypothesis of at most two concepts predicts to be on, and which concepts each holds."""

    def __init__(self, vocabulary: Vocabulary, pictures: Sequence[Picture]) -> None:
        self.pictures = pictures
        self.concepts = vocabulary.concepts()
        self.prices = np.array([ATTRIBUTE_PRICE * concept.attributes for concept in self.concepts])
        self.number = np.array(
            [[sum(map(concept.fits, picture.things)) for picture in pictures] for concept in self.concepts],
            dtype=np.float64,
        )
        self.holds = (self.number > 0).astype(np.float64)
        self._both = self.holds @ self.holds.T
        self._upper = np.triu(np.ones(self._both.shape, dtype=bool), 1)
        self._apart = ~np.eye(len(self.concepts), dtype=bool)

    def explained(self, activations: _Matrix) -> Iterator[tuple[Form, int, _Matrix]]:
        """Yield form, least number and the R² of all hypotheses: by one concept, or by a first and a second."""
        both = (self.holds * activations) @ self.holds.T
        counts, sums = np.diag(self._both), np.diag(both)
        yield "mono", 1, _explained(counts, sums, activations)
        for least in range(2, MOST_COUNTED + 1):
            enough = (self.number >= least).astype(np.float64)
            yield "count", least, _explained(enough.sum(axis=1), enough @ activations, activations)
        yield "and", 1, np.where(self._upper, _explained(self._both, both, activations), -np.inf)
        counts_or = counts[:, None] + counts[None, :] - self._both
        sums_or = sums[:, None] + sums[None, :] - both
        yield "or", 1, np.where(self._upper, _explained(counts_or, sums_or, activations), -np.inf)
        counts_not, sums_not = counts[:, None] - self._both, sums[:, None] - both
        yield "andnot", 1, np.where(self._apart, _explained(counts_not, sums_not, activations), -np.inf)


def _best_by_tables(tables: _Tables, activations: _Matrix, top: int) -> list[Scored]:
    found = []
    for form, least, explained in tables.explained(activations):
        joints = JOINT_PRICE[form] * max(1, least - 1)
        price = tables.prices + joints if explained.ndim == 1 else tables.prices[:, None] + tables.prices + joints
        for place, value, score in _highest(explained, price, top):
            concepts = tuple(tables.concepts[index] for index in place)
            found.append(Scored(Hypothesis(concepts, form, least), value, score))
    return found


def _with_a_third(tables: _Tables, activations: _Matrix, pairs: Sequence[Hypothesis], top: int) -> list[Scored]:
    """Score "or" of three, where two of them are one of these pairs."""
    found = []
    for pair in pairs:
        one, two = (tables.concepts.index(concept) for concept in pair.concepts)
        covered = np.maximum(tables.holds[one], tables.holds[two])
        more = np.maximum(tables.holds, covered)
        explained = _explained(more.sum(axis=1), more @ activations, activations)
        explained[[index for index in range(len(explained)) if tables.concepts[index] in pair.concepts]] = -np.inf
        prices = tables.prices + _price(pair) + JOINT_PRICE["or"]
        for (place,), value, score in _highest(explained, prices, top):
            concepts = sorted((*pair.concepts, tables.concepts[place]), key=str)
            found.append(Scored(Hypothesis(tuple(concepts), "or"), value, score))
    return found


def _scored(pictures: Sequence[Picture], activations: _Matrix, hypotheses: Iterable[Hypothesis]) -> list[Scored]:
    found = []
    for hypothesis in hypotheses:
        on = np.array([hypothesis.predicts(picture) for picture in pictures], dtype=np.float64)
        explained = float(_explained(on.sum(keepdims=True), (on @ activations)[None], activations)[0])
        if math.isfinite(explained):
            found.append(Scored(hypothesis, explained, explained - _price(hypothesis)))
    return found


def _highest(explained: _Matrix, price: _Matrix, top: int) -> Iterator[tuple[tuple[int, ...], float, float]]:
    scores = explained - price
    for flat in np.argsort(-scores, axis=None, kind="stable")[:top]:
        place = tuple(int(index) for index in np.unravel_index(flat, scores.shape))
        if np.isfinite(scores[place]):
            yield place, float(explained[place]), float(scores[place])


def _explained(counts: _Matrix, sums: _Matrix, activations: _Matrix) -> _Matrix:
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
    """Return the hypotheses of one or two concepts under which the exemplars are most likely, best first.

    The size principle: a hypothesis that few scenes fit by chance explains an exemplar that fits it better than one
    that many scenes fit. Activations play no part, since all exemplars are high.
    """
    tables = _Tables(vocabulary, [exemplar.picture for exemplar in exemplars])
    concepts, holds = tables.concepts, tables.holds
    rates = np.array([1 - (1 - _share(concept, vocabulary)) ** THINGS_A_SCENE for concept in concepts])
    number = len(exemplars)
    both = holds @ holds.T
    single = np.diag(both)
    either = single[:, None] + single[None, :] - both

    def likelihood(covered: _Matrix, rate: _Matrix) -> _Matrix:
        explained: _Matrix = -covered * np.log(rate) + (number - covered) * np.log(MISSED)
        return explained

    # "red and red circle" is no more than "red circle".
    apart = np.array([[not (one.implies(other) or other.implies(one)) for other in concepts] for one in concepts])
    upper = np.triu(apart, 1)
    rate_or = 1 - (1 - rates[:, None]) * (1 - rates[None, :])
    found: list[tuple[float, Hypothesis]] = []
    by_form: list[tuple[_Matrix, Form]] = [
        (likelihood(single, rates), "mono"),
        (np.where(upper, likelihood(both, rates[:, None] * rates[None, :]), -np.inf), "and"),
        (np.where(upper, likelihood(either, rate_or), -np.inf), "or"),
    ]
    for scores, form in by_form:
        for place, _, score in _highest(scores, np.zeros_like(scores), top):
            found.append((score, Hypothesis(tuple(concepts[index] for index in place), form)))
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
