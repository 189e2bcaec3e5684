"""The scripted agent against simulated units: it must find the truth by experiments, or say that there is none."""

import ast
import re
from collections.abc import Callable

import numpy as np
import pytest

from maia.orchestrator.agents.scripted import ScriptedBackbone
from maia.orchestrator.agents.scripted.concepts import Concept, Picture, Thing, Vocabulary
from maia.orchestrator.agents.scripted.conclusion import conclude, form_asked
from maia.orchestrator.agents.scripted.experiments import exemplar_regions
from maia.orchestrator.agents.scripted.foresight import foretold
from maia.orchestrator.agents.scripted.hypotheses import Form, Hypothesis, rivals
from maia.orchestrator.agents.scripted.inference import Observation, Scored, likely, rank
from maia.orchestrator.agents.scripted.telling import CONTROLS, telling_pictures
from maia.orchestrator.answers import Answer
from maia.orchestrator.answers import Form as AnswerForm
from maia.orchestrator.conversation import Message, Text
from maia.orchestrator.errors import BackboneError
from maia.orchestrator.parsing import parse_reply
from maia.orchestrator.tasks import load_task, task_names
from maia.services.scenes.labels import canonical_label

SYSTEM = """Some prompt.
[DESCRIPTION]: what drives it
[LABEL 1]: its name
- Shapes: circle, square, triangle, star, cross, ring, heart, hexagon, diamond, crescent
- Colours: red, orange, yellow, green, cyan, blue, purple, pink, brown, black
- Textures: solid, striped, dotted, checkered
- Relations: left of, right of, above, below, inside, next to
"""
VOCABULARY = Vocabulary.read(SYSTEM)
assert VOCABULARY is not None

Unit = Callable[[Picture], float]


def unit_of(hypothesis: Hypothesis, seed: int) -> Unit:
    """A unit that is 0 when off and graded when on, as by the size of what it sees.

    Where nobody said how things stand, they stand by chance, one way in four.
    """
    rng = np.random.default_rng(seed)

    def activation(picture: Picture) -> float:
        by_chance = hypothesis.form == "relation" and picture.relation is None and rng.random() > 0.25
        return round(float(rng.uniform(4, 9)), 2) if hypothesis.predicts(picture) and not by_chance else 0.0

    return activation


def exemplars(unit: Unit, seed: int) -> str:
    """What the first block prints: the top of a set of random scenes, described by their regions and as wholes."""
    assert VOCABULARY is not None
    rng = np.random.default_rng(seed)

    def thing() -> Thing:
        return Thing(
            *(str(rng.choice(values)) for values in (VOCABULARY.colours, VOCABULARY.textures, VOCABULARY.shapes))
        )

    scenes = [Picture(tuple(thing() for _ in range(rng.integers(1, 5)))) for _ in range(2000)]
    top = sorted(((unit(scene), scene) for scene in scenes), key=lambda pair: -pair[0])[:15]
    return "\n".join(
        f'"whole {activation}", HIGHLIGHTED REGIONS: {", ".join(map(str, scene.things))}' for activation, scene in top
    )


def simulate(code: str, unit: Unit) -> str:
    """Answer a block as the real tools would print it."""
    assert VOCABULARY is not None
    if "dataset_exemplars" in code:
        return exemplars(unit, seed=1)
    lists = [ast.literal_eval(text) for text in re.findall(r"\[\n.*?\n\]", code, re.DOTALL)]
    if "edit_images" in code:
        return "\n".join(f"edit     5.00 ->     0.00 | Editing Prompt: {edit}" for edit in lists[1])
    return "\n".join(f"{unit(VOCABULARY.picture(prompt)):8.2f} | {prompt}" for prompt in lists[0])


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
RING, GREEN, BLUE, STRIPED = (
    Concept(shape="ring"),
    Concept(colour="green"),
    Concept(colour="blue"),
    Concept(texture="striped"),
)


def of(form: Form, *concepts: Concept) -> Hypothesis:
    return Hypothesis(concepts, form)


TRUTHS = [
    of("mono", RED),
    of("mono", CIRCLE),
    of("mono", STRIPED),
    of("mono", Concept(colour="blue", shape="ring")),
    of("mono", Concept(texture="dotted", shape="heart")),
    of("or", CIRCLE, STAR),
    of("or", RED, CIRCLE),
    of("or", STRIPED, BLUE),
    of("or", Concept(colour="red", shape="star"), RING),
    of("or", CIRCLE, STAR, RING),
    of("or", RED, CIRCLE, STRIPED),
    of("and", CIRCLE, STAR),
    of("and", RED, GREEN),
    of("and", RED, CIRCLE),
    of("and", Concept(colour="red", shape="circle"), Concept(shape="square")),
    of("andnot", CIRCLE, STAR),
    of("andnot", CIRCLE, RED),
    of("andnot", RED, STRIPED),
    Hypothesis((CIRCLE,), "count", 2),
    Hypothesis((STRIPED,), "count", 3),
    Hypothesis((CIRCLE, STAR), "relation", relation="left of"),
    Hypothesis((RED, BLUE), "relation", relation="above"),
    Hypothesis((STAR, RING), "relation", relation="inside"),
]


@pytest.mark.parametrize("truth", TRUTHS, ids=str)
async def test_it_finds_the_truth_of_a_simulated_unit(truth: Hypothesis) -> None:
    labels, description, rounds = await investigate(unit_of(truth, seed=3))
    assert labels == (str(truth),)
    assert str(truth) in description
    assert rounds <= 8


async def test_it_reports_a_dead_unit_as_such() -> None:
    labels, description, _ = await investigate(lambda picture: 0.0)
    assert labels == ("none",)
    assert "did not respond to any" in description
    assert "no concept" in description


async def test_it_reports_a_constant_unit_as_such() -> None:
    labels, description, _ = await investigate(lambda picture: 6.5)
    assert labels == ("none",)
    assert "answered 6.5 to all of" in description


@pytest.mark.parametrize("seed", range(4))
async def test_it_finds_no_pattern_in_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, description, _ = await investigate(lambda picture: round(float(rng.uniform(0, 10)), 2))
    assert labels == ("none",)
    assert "without a pattern" in description


@pytest.mark.parametrize("seed", range(2))
async def test_a_pattern_is_found_in_much_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = of("mono", CIRCLE)
    labels, _, _ = await investigate(lambda picture: round(float(rng.uniform(0, 10)) + 3 * truth.predicts(picture), 2))
    assert labels != ("none",)
    assert "circle" in labels[0]


@pytest.mark.parametrize(("explained", "weak"), [(0.2, True), (0.9, False)])
def test_what_explains_little_is_called_weak(explained: float, weak: bool) -> None:
    assert VOCABULARY is not None
    reply = conclude(VOCABULARY, Scored(of("mono", CIRCLE), explained, explained), [])
    assert ("weakly and not only" in reply) is weak
    assert "[LABEL 1]: circle" in reply


def test_chance_foretells_nothing_and_a_true_hypothesis_does() -> None:
    assert VOCABULARY is not None
    rng = np.random.default_rng(2)
    pictures = [
        Picture((Thing(colour, "solid", shape),)) for colour in VOCABULARY.colours for shape in ("star", "ring")
    ]

    def observed(effect: float) -> list[Observation]:
        return [
            Observation(one, effect * (one.things[0].shape == "star") + float(rng.uniform(0, 4))) for one in pictures
        ]

    for effect, expected in ((0.0, False), (8.0, True)):
        assert foretold(VOCABULARY, observed(effect), [observed(effect), observed(effect)]) is expected
    silent = [Observation(one, 0.0) for one in pictures]
    assert foretold(VOCABULARY, observed(8.0), [silent])


def test_every_round_holds_pictures_that_could_contradict_the_best_hypothesis() -> None:
    assert VOCABULARY is not None
    best = of("or", CIRCLE, STAR, RING)
    alike = [best, of("or", CIRCLE, STAR)]
    ranked = [Scored(hypothesis, 0.9, 0.9 - 0.01 * place) for place, hypothesis in enumerate(alike)]
    pictures = telling_pictures(VOCABULARY, ranked, 24, seed=1, seen=set())
    on = [best.predicts(picture) for picture in pictures]
    assert sum(on) >= CONTROLS
    assert len(on) - sum(on) >= CONTROLS
    assert len(set(pictures)) == len(pictures) <= 24
    assert any(alike[0].predicts(picture) != alike[1].predicts(picture) for picture in pictures)


def test_rivals_are_what_looks_the_same_on_single_things() -> None:
    assert VOCABULARY is not None
    beside = {str(rival) for rival in rivals(VOCABULARY, of("mono", CIRCLE))}
    assert {"circle and not star", "circle and not red", "at least two circles", "at least three circles"} <= beside
    assert "circle and not circle" not in beside
    arranged = {str(rival) for rival in rivals(VOCABULARY, of("and", CIRCLE, STAR))}
    assert {"circle left of star", "star left of circle", "star inside circle", "circle and star"} <= arranged


@pytest.mark.parametrize(
    ("hypothesis", "text", "on"),
    [
        (of("andnot", CIRCLE, RED), "a medium solid blue circle", True),
        (of("andnot", CIRCLE, RED), "a medium solid red circle", False),
        (of("andnot", CIRCLE, RED), "a medium solid blue circle and a medium solid red star", False),
        (Hypothesis((RED,), "count", 2), "a medium solid red circle and a medium solid red star", True),
        (Hypothesis((RED,), "count", 2), "a medium solid red circle and a medium solid blue star", False),
        (Hypothesis((RED, BLUE), "relation", relation="above"), "a solid red star above a solid blue ring", True),
        (Hypothesis((RED, BLUE), "relation", relation="above"), "a solid blue star above a solid red ring", False),
        (Hypothesis((RED, BLUE), "relation", relation="above"), "a solid red star left of a solid blue ring", False),
        (Hypothesis((RED, BLUE), "relation", relation="above"), "a solid red star and a solid blue ring", True),
        (Hypothesis((RED, STAR), "relation", relation="above"), "a solid red star", False),
    ],
)
def test_what_a_hypothesis_predicts(hypothesis: Hypothesis, text: str, on: bool) -> None:
    assert VOCABULARY is not None
    assert hypothesis.predicts(VOCABULARY.picture(text)) is on


def test_labels_are_written_as_the_scene_world_writes_them() -> None:
    written = [
        (Hypothesis((Concept(colour="red"),), "count", 2), "at least two red things"),
        (Hypothesis((Concept(shape="cross"),), "count", 3), "at least three crosses"),
        (of("or", STAR, RING, CIRCLE), "circle or ring or star"),
        (of("andnot", STAR, CIRCLE), "star and not circle"),
        (Hypothesis((STAR, CIRCLE), "relation", relation="inside"), "star inside circle"),
    ]
    assert [str(hypothesis) for hypothesis, _ in written] == [label for _, label in written]
    assert [canonical_label(label) for _, label in written] == [label for _, label in written]


def test_of_equal_explanations_the_simplest_wins() -> None:
    assert VOCABULARY is not None
    seen = [
        Observation(Picture((Thing("red", "solid", shape),)), 5.0 * (shape == "star")) for shape in VOCABULARY.shapes
    ]
    assert str(rank(VOCABULARY, seen)[0].hypothesis) == "star"


def test_without_relations_in_the_guide_none_are_tried() -> None:
    vocabulary = Vocabulary.read(SYSTEM.replace("- Relations", "- Elsewhere"))
    assert vocabulary is not None
    assert vocabulary.relations == ()
    assert {rival.form for rival in rivals(vocabulary, of("and", CIRCLE, STAR))} == {"and"}


@pytest.mark.parametrize(("explained", "label"), [(0.2, "none"), (0.9, "star")])
def test_what_was_found_too_late_to_foretell_is_believed_if_it_explains_much(explained: float, label: str) -> None:
    assert VOCABULARY is not None
    alone = "\n".join(f"    0.00 | a medium solid {colour} ring" for colour in VOCABULARY.colours)
    telling = "\n".join(f"    {5 * (shape == 'star')}.00 | a medium solid red {shape}" for shape in VOCABULARY.shapes)
    messages = [Message("user", (Text(text),)) for text in (alone, telling)]
    reply = conclude(VOCABULARY, Scored(of("mono", STAR), explained, explained), messages)
    assert f"[LABEL 1]: {label}\n" in reply


async def test_the_same_conversation_gets_the_same_reply() -> None:
    messages = [Message("user", (Text("Begin."),))]
    assert await ScriptedBackbone().reply(SYSTEM, messages) == await ScriptedBackbone().reply(SYSTEM, messages)


FOUND = Scored(of("mono", CIRCLE), 0.9, 0.9)
REGIONS = "\n".join(f'"region 9.{n}", HIGHLIGHTED REGIONS: large red circle' for n in range(15))
DRAWN = "\n".join(
    f"{4.0 * (shape == 'circle'):8.2f} | a medium solid {colour} {shape}"
    for colour in ("red", "blue")
    for shape in ("circle", "star")
)


def ending(form: AnswerForm, best: Scored | None, *texts: str) -> Answer:
    assert VOCABULARY is not None
    messages = [Message("user", (Text(text),)) for text in texts]
    answer = parse_reply(conclude(VOCABULARY, best, messages, form), form).conclusion
    assert answer is not None
    assert answer.complete
    return answer


def test_a_question_gets_what_was_found_and_that_it_was_not_read() -> None:
    answer = ending("text", FOUND, DRAWN)
    assert "reads no question" in answer.description
    assert "responds to circle" in answer.description


def test_a_bias_is_what_the_score_needs_and_none_where_nothing_was_found() -> None:
    assert ending("bias", FOUND, DRAWN).labels == ("without circle",)
    nothing = ending("bias", None, DRAWN)
    assert nothing.labels == ()
    assert "No context was found" in nothing.description


@pytest.mark.parametrize(
    ("found", "word"),
    [
        (of("mono", CIRCLE), "SELECTIVE"),
        (of("or", CIRCLE, STAR), "SELECTIVE"),  # other things drive it as well, but circles do
        (of("mono", STAR), "SPURIOUS"),
        (None, "SPURIOUS"),
    ],
)
def test_a_verdict_compares_what_exemplars_look_like_with_what_drives_the_unit(
    found: Hypothesis | None, word: str
) -> None:
    answer = ending("verdict", Scored(found, 0.9, 0.9) if found else None, REGIONS.replace("red ", "blue "), DRAWN)
    assert answer.labels == (word,)
    assert "stood for blue circle" in answer.description


def test_without_exemplars_there_is_no_class_to_give_a_verdict_on() -> None:
    with pytest.raises(BackboneError, match="--agent"):
        ending("verdict", FOUND, DRAWN)


async def test_an_answer_of_another_form_is_refused_with_what_to_do() -> None:
    system = SYSTEM.replace("[DESCRIPTION]:", "[SONG]:")
    with pytest.raises(BackboneError, match="--agent"):
        await ScriptedBackbone().reply(system, [Message("user", (Text("Begin."),))])


@pytest.mark.parametrize("name", task_names())
def test_the_form_of_every_task_is_known(name: str) -> None:
    task = load_task(name, question="Why?" if name == "question" else "")
    assert form_asked(task.system_prompt(api="", prompt_guide="", instruction_guide="")) == task.form


async def test_another_generator_is_refused_with_what_to_do() -> None:
    with pytest.raises(BackboneError, match="--agent"):
        await ScriptedBackbone().reply("Write prompts as you like.", [Message("user", (Text("Begin."),))])


@pytest.mark.parametrize(
    ("relation", "prompt"),
    [
        (None, "a medium solid red circle and a medium striped blue cross"),
        ("left of", "a medium solid red circle left of a medium striped blue cross"),
        ("inside", "a solid red circle inside a striped blue cross"),
    ],
)
def test_prompts_read_back_as_the_picture_they_describe(relation: str | None, prompt: str) -> None:
    assert VOCABULARY is not None
    picture = Picture((Thing("red", "solid", "circle"), Thing("blue", "striped", "cross")), relation)
    assert str(picture) == prompt
    assert VOCABULARY.picture(prompt) == picture


def test_descriptions_are_read_as_pictures_without_arrangement() -> None:
    assert VOCABULARY is not None
    read = VOCABULARY.picture("two large red dotted circles; background: grey")
    assert read == Picture((Thing("red", "dotted", "circle"),))


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
    assert likely(VOCABULARY, regions)[0] == Hypothesis((truth,))
