"""What a scene's description says of every unit is what the unit says of the scene's pixels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pytest

from maia.services.scenes.compose import compose
from maia.services.scenes.concepts import Concept
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.labels import Label
from maia.services.scenes.render import render
from maia.services.scenes.scene import Relation, Scene, Thing
from maia.services.scenes.segment import segment
from maia.services.scenes.specification import Specification, Wanted, WantedRelation
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.backends.scene_neurons.table import Rule, rules
from maia.services.subject.measuring import measure
from maia.services.subject.model import Unit

KINDS = ("mono", "or", "or3", "and", "andnot", "count", "relation")


def fits(concept: Concept, thing: Thing) -> bool:
    return (
        (concept.colour is None or concept.colour is thing.colour)
        and (concept.texture is None or concept.texture is thing.texture)
        and (concept.shape is None or concept.shape is thing.shape)
    )


def stand(one: Thing, relation: Relation, other: Thing) -> bool | None:
    """By the description, with room for what outlines are like; None where it is too close to tell."""
    dx, dy = other.x - one.x, other.y - one.y
    apart = math.hypot(dx, dy)
    if relation is Relation.INSIDE:
        if apart < 0.7 * other.radius and one.radius < other.radius:
            return True
        return False if apart > one.radius + other.radius or one.radius > other.radius else None
    along, across = (dx, dy) if relation is Relation.LEFT_OF else (dy, dx)
    room, slack = one.radius + other.radius, 0.3 * (one.radius + other.radius)
    if along > 1.3 * room and along > abs(across) + slack:
        return True
    return False if along < 0.6 * room or along < abs(across) - slack else None


def expected(label: Label, scene: Scene) -> bool | None:
    """Whether a unit should be on, worked out from the description alone; None where it is too close to tell."""
    having = [[thing for thing in scene.things if fits(concept, thing)] for concept in label.concepts]
    match label.form:
        case "mono" | "or":
            return any(having)
        case "and":
            return all(having)
        case "andnot":
            return bool(having[0]) and not having[1]
        case "count":
            return len(having[0]) >= label.least
        case _:
            assert label.relation is not None
            judged = [stand(one, label.relation, other) for one in having[0] for other in having[1] if one is not other]
            return True if True in judged else None if None in judged else False


def made_for(rule: Rule, seed: int) -> Iterator[Scene]:
    """Scenes that hold what a rare kind of unit looks for, and scenes that just miss it."""
    label = rule.meaning
    wanted = [Wanted(concept.shape, concept.colour, concept.texture) for concept in label.concepts]
    specifications = []
    if label.form == "count":
        specifications = [Specification(tuple(wanted * number)) for number in (label.least - 1, label.least)]
    elif label.form == "relation":
        assert label.relation is not None
        specifications = [
            Specification(tuple(wanted), (WantedRelation(*order[:1], label.relation, *order[1:]),))
            for order in ((0, 1), (1, 0))
        ]
    elif label.form == "andnot":
        specifications = [Specification(tuple(wanted)), Specification((wanted[0],))]
    for specification in specifications:
        yield compose(specification, seed)[0]


@cache
def scenes() -> Sequence[tuple[Scene, np.ndarray]]:
    """Scenes that the segmenter reads without a mistake; what it does with the others is not this test's business."""
    every = [fixed_scene(index) for index in range(0, 900, 9)]
    every += [scene for units in rules().values() for i, rule in enumerate(units) for scene in made_for(rule, seed=i)]
    drawn = [(scene, np.asarray(render(scene))) for scene in every]
    kept = [(scene, rgb) for scene, rgb in drawn if read(rgb) == Counter(map(attributes, scene.things))]
    assert len(kept) > 0.9 * len(every)
    return kept


def attributes(thing: Thing) -> tuple[str, str, str]:
    return thing.colour, thing.texture, thing.shape


def read(rgb: np.ndarray) -> Counter[tuple[str, str, str]]:
    return Counter((region.colour, region.texture, region.shape) for region in segment(rgb).regions)


@pytest.fixture(scope="module")
def activations() -> dict[Unit, list[float]]:
    """Of every unit that has a concept, on every scene."""
    subject = SceneNeurons.load()
    units = [Unit(layer, i) for layer, of in rules().items() for i, rule in enumerate(of) if rule.control is None]
    measured = measure(subject, [rgb for _, rgb in scenes()], units).activations
    return {unit: measured[:, column].tolist() for column, unit in enumerate(units)}


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_say_what_the_description_says(kind: str, activations: dict[Unit, list[float]]) -> None:
    verdicts: Counter[bool] = Counter()
    for unit, measured in activations.items():
        rule = rules()[unit.layer][unit.index]
        if rule.kind != kind:
            continue
        for (scene, _), activation in zip(scenes(), measured, strict=True):
            on = expected(rule.meaning, scene)
            if on is not None:
                assert (activation > 0) is on, (rule.label, scene)
                verdicts[on] += 1
    assert verdicts[True] >= 15
    assert verdicts[False] >= 200
