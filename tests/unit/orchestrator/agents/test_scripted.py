"""The scripted agent against simulated units: it must find the truth by experiments, or say that there is none."""

import ast
import re
from collections.abc import Callable

import numpy as np
import pytest

from maia.orchestrator.agents.scripted import ScriptedBackbone
from maia.orchestrator.agents.scripted.concepts import Concept, Hypothesis, Thing, Vocabulary
from maia.orchestrator.agents.scripted.experiments import exemplar_regions, prompt_of
from maia.orchestrator.agents.scripted.inference import likely
from maia.orchestrator.conversation import Message, Text
from maia.orchestrator.errors import BackboneError
from maia.orchestrator.parsing import parse_reply

SYSTEM = """Some prompt.
- Shapes: circle, square, triangle, star, cross, ring, heart, hexagon, diamond, crescent
- Colours: red, orange, yellow, green, cyan, blue, purple, pink, brown, black
- Textures: solid, striped, dotted, checkered
"""
VOCABULARY = Vocabulary.read(SYSTEM)
assert VOCABULARY is not None

Unit = Callable[[tuple[Thing, ...]], float]


def unit_of(hypothesis: Hypothesis, seed: int) -> Unit:
    """A unit that is 0 when off and graded when on, as by the size of what it sees."""
    rng = np.random.default_rng(seed)
    return lambda things: round(float(rng.uniform(4, 9)), 2) if hypothesis.predicts(things) else 0.0


def exemplars(unit: Unit, seed: int) -> str:
    """What the first block prints: the top of a set of random scenes, described by their regions and as wholes."""
    assert VOCABULARY is not None
    rng = np.random.default_rng(seed)

    def thing() -> Thing:
        return Thing(
            *(str(rng.choice(values)) for values in (VOCABULARY.colours, VOCABULARY.textures, VOCABULARY.shapes))
        )

    scenes = [tuple(thing() for _ in range(rng.integers(1, 5))) for _ in range(2000)]
    top = sorted(((unit(scene), scene) for scene in scenes), key=lambda pair: -pair[0])[:15]
    return "\n".join(
        f'"whole {activation}", HIGHLIGHTED REGIONS: {", ".join(map(str, scene))}' for activation, scene in top
    )


def simulate(code: str, unit: Unit) -> str:
    """Answer a block as the real tools would print it."""
    assert VOCABULARY is not None
    if "dataset_exemplars" in code:
        return exemplars(unit, seed=1)
    lists = [ast.literal_eval(text) for text in re.findall(r"\[\n.*?\n\]", code, re.DOTALL)]
    if "edit_images" in code:
        return "\n".join(f"edit     5.00 ->     0.00 | Editing Prompt: {edit}" for edit in lists[1])
    return "\n".join(f"{unit(VOCABULARY.things(prompt)):8.2f} | {prompt}" for prompt in lists[0])


async def investigate(unit: Unit) -> tuple[tuple[str, ...], str, int]:
    backbone = ScriptedBackbone()
    messages = [Message("user", (Text("Begin."),))]
    for number in range(12):
        reply = (await backbone.reply(SYSTEM, messages)).text
        parsed = parse_reply(reply)
        if parsed.conclusion:
            assert not parsed.blocks
            return parsed.conclusion.labels, parsed.conclusion.description, number + 1
        ast.parse(parsed.blocks[0])
        messages += [Message("assistant", (Text(reply),)), Message("user", (Text(simulate(parsed.blocks[0], unit)),))]
    raise AssertionError("no conclusion in 12 rounds")


RED, CIRCLE, STAR = Concept(colour="red"), Concept(shape="circle"), Concept(shape="star")
TRUTHS = [
    Hypothesis(RED),
    Hypothesis(CIRCLE),
    Hypothesis(Concept(texture="striped")),
    Hypothesis(Concept(colour="blue", shape="ring")),
    Hypothesis(Concept(texture="dotted", shape="heart")),
    Hypothesis(CIRCLE, "or", STAR),
    Hypothesis(RED, "or", CIRCLE),
    Hypothesis(Concept(texture="striped"), "or", Concept(colour="blue")),
    Hypothesis(Concept(colour="red", shape="star"), "or", Concept(shape="ring")),
    Hypothesis(CIRCLE, "and", STAR),
    Hypothesis(RED, "and", Concept(colour="green")),
    Hypothesis(RED, "and", CIRCLE),
    Hypothesis(Concept(colour="red", shape="circle"), "and", Concept(shape="square")),
]


@pytest.mark.parametrize("truth", TRUTHS, ids=str)
async def test_it_finds_the_truth_of_a_simulated_unit(truth: Hypothesis) -> None:
    labels, description, rounds = await investigate(unit_of(truth, seed=3))
    assert labels == (str(truth),)
    assert str(truth) in description
    assert rounds <= 8


async def test_it_reports_a_dead_unit_as_such() -> None:
    labels, description, _ = await investigate(lambda things: 0.0)
    assert labels == ("none",)
    assert "no concept" in description


async def test_noise_is_called_weak() -> None:
    rng = np.random.default_rng(5)
    _, description, _ = await investigate(lambda things: round(float(rng.normal()), 2))
    assert "weakly" in description


async def test_the_same_conversation_gets_the_same_reply() -> None:
    messages = [Message("user", (Text("Begin."),))]
    assert await ScriptedBackbone().reply(SYSTEM, messages) == await ScriptedBackbone().reply(SYSTEM, messages)


async def test_another_generator_is_refused_with_what_to_do() -> None:
    with pytest.raises(BackboneError, match="--agent"):
        await ScriptedBackbone().reply("Write prompts as you like.", [Message("user", (Text("Begin."),))])


def test_prompts_read_back_as_the_things_they_name() -> None:
    assert VOCABULARY is not None
    things = (Thing("red", "solid", "circle"), Thing("blue", "striped", "cross"))
    assert prompt_of(things) == "a solid red circle and a striped blue cross"
    assert VOCABULARY.things(prompt_of(things)) == things
    assert VOCABULARY.things("two large red dotted circles; background: grey") == (Thing("red", "dotted", "circle"),)


@pytest.mark.parametrize("truth", [CIRCLE, Concept(colour="red", shape="star")], ids=str)
def test_what_every_highlighted_region_shows_is_the_first_hypothesis(truth: Concept) -> None:
    assert VOCABULARY is not None
    rng = np.random.default_rng(4)
    things = [
        Thing(*(str(value or rng.choice(values)) for value, values in zip(attributes, words, strict=True)))
        for attributes in [(truth.colour, truth.texture, truth.shape)] * 15
        for words in [(VOCABULARY.colours, VOCABULARY.textures, VOCABULARY.shapes)]
    ]
    lines = "\n".join(f'"region 9.1", HIGHLIGHTED REGIONS: large {thing}' for thing in things)
    regions = exemplar_regions(VOCABULARY, [Message("user", (Text(lines),))])
    assert len(regions) == 15
    assert likely(VOCABULARY, regions)[0] == Hypothesis(truth)
