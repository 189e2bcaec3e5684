"""Which pictures would tell the best hypotheses apart, and show whether the very best holds at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from maia.orchestrator.agents.scripted.concepts import Concept, Picture, Thing, Vocabulary
from maia.orchestrator.agents.scripted.hypotheses import Hypothesis
from maia.orchestrator.agents.scripted.inference import Scored

TEMPERATURE: Final = 0.03
"""A hypothesis whose score is this much lower counts e times less when the next pictures are chosen."""

CONTROLS: Final = 4
"""At least so many pictures that the best hypothesis predicts to be on, and so many off, if there is room."""

_FILLINGS: Final = 3  # things drawn at random that have a concept
_ANY: Final = 8  # things of any kind
_PAIRS: Final = 600
_COMPANY: Final = 200


def telling_pictures(
    vocabulary: Vocabulary, ranked: Sequence[Scored], number: int, seed: int, seen: set[Picture]
) -> list[Picture]:
    """Choose pictures on which the best hypotheses disagree.

    Pictures hold things that have, or just miss, what the hypotheses speak of. Each next picture is the one that
    separates most pairs of likely hypotheses, pairs that are already separated counting less.

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
    on = np.array(
        [[hypothesis.predicts(picture) for hypothesis in hypotheses] for picture in candidates], dtype=np.float64
    )
    importance = np.outer(weights, weights)
    chosen: list[int] = []
    free = np.ones(len(candidates), dtype=bool)
    while len(chosen) < number - 2 * CONTROLS:
        # The importance of all pairs of which one is on and one is off.
        gains = np.where(free, on @ importance.sum(axis=1) - ((on @ importance) * on).sum(axis=1), 0.0)
        best = int(np.argmax(gains))
        if gains[best] <= 1e-9:
            break
        chosen.append(best)
        free[best] = False
        importance = np.where(on[best][:, None] != on[best][None, :], importance / 2, importance)
    for wanted in (0.0, 1.0):
        alike = np.flatnonzero(free & (on[:, 0] == wanted))
        missing = CONTROLS - np.count_nonzero(on[chosen, 0] == wanted)
        chosen += rng.permutation(alike)[: max(0, missing)].tolist()
    return [candidates[index] for index in chosen]


def _candidates(vocabulary: Vocabulary, hypotheses: Sequence[Hypothesis], rng: np.random.Generator) -> list[Picture]:
    concepts = list(dict.fromkeys(concept for hypothesis in hypotheses for concept in hypothesis.concepts))
    things = [_filled(concept, vocabulary, rng) for concept in concepts[:40] for _ in range(_FILLINGS)]
    things += [_filled(Concept(), vocabulary, rng) for _ in range(_ANY)]
    pictures = [Picture((thing,)) for thing in things]
    pairs = rng.integers(len(things), size=(_PAIRS, 2))
    pictures += [Picture((things[int(one)], things[int(two)])) for one, two in pairs if one != two]
    # The leader in any company, since what spoils it may be anything.
    pictures += [
        Picture((_filled(hypotheses[0].concepts[0], vocabulary, rng), things[int(i)]))
        for i in rng.integers(len(things), size=_COMPANY)
    ]
    for hypothesis in hypotheses:
        pictures += _made_for(hypothesis, vocabulary, rng)
    return list(dict.fromkeys(pictures))


def _made_for(hypothesis: Hypothesis, vocabulary: Vocabulary, rng: np.random.Generator) -> Iterator[Picture]:
    """Make the pictures that only some forms of hypotheses care for: several alike, and two things arranged."""
    for _ in range(_FILLINGS):
        if hypothesis.form == "count":
            concept = hypothesis.concepts[0]
            few, many = (
                tuple(_filled(concept, vocabulary, rng) for _ in range(number))
                for number in (hypothesis.least - 1, hypothesis.least)
            )
            yield from (Picture(few), Picture(many))
        elif hypothesis.form == "relation":
            one, two = (_filled(concept, vocabulary, rng) for concept in hypothesis.concepts)
            for relation in vocabulary.relations:
                yield from (Picture((one, two), relation), Picture((two, one), relation))


def _filled(concept: Concept, vocabulary: Vocabulary, rng: np.random.Generator) -> Thing:
    return Thing(
        concept.colour or str(rng.choice(vocabulary.colours)),
        concept.texture or str(rng.choice(vocabulary.textures)),
        concept.shape or str(rng.choice(vocabulary.shapes)),
    )
