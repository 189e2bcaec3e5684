"""The scripted agent: a fixed plan of experiments in the scene world, no language model.

It proves that the system works end to end, not that it is intelligent. It writes real code, reads the printed results
and nothing else, and its plan is the textbook one: exemplars, every concept alone, pictures on which the best
hypotheses disagree, edits that change one thing, a conclusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from maia.orchestrator.agents.scripted import experiments
from maia.orchestrator.agents.scripted.concepts import Hypothesis, Thing, Vocabulary
from maia.orchestrator.agents.scripted.inference import Observation, Scored, likely, rank, telling_pictures
from maia.orchestrator.conversation import Message, Reply
from maia.orchestrator.errors import BackboneError

PICTURES_A_ROUND: Final = 20
TELLING_ROUNDS: Final = 3
FIRST_TELLING: Final = 2
"""Replies before the first round of telling pictures: exemplars, and every concept alone."""

WEAK: Final = 0.3
"""A best hypothesis that explains less of the variance than this is called weak in the description."""


@dataclass(frozen=True, slots=True)
class ScriptedBackbone:
    """Writes a fixed plan of experiments; its words come from the system prompt, its state from the conversation."""

    name: str = "scripted"

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        """Write the next experiment of the plan, or conclude.

        Raises:
            BackboneError: The generator is not that of the scene world, whose words the plan needs.
        """
        vocabulary = Vocabulary.read(system)
        if vocabulary is None:
            raise BackboneError(
                "the scripted agent knows the scene world only, and this generator's prompt guide lists no shapes,"
                " colours and textures; choose another --agent",
                transient=False,
            )
        return Reply(_plan(vocabulary, messages), self.name)

    async def aclose(self) -> None:
        """Nothing to close."""


def _plan(vocabulary: Vocabulary, messages: Sequence[Message]) -> str:
    written = sum(message.role == "assistant" for message in messages)
    if written == 0:
        return _experiment("First the dataset images that drive the neuron most.", experiments.EXEMPLARS)
    if written == 1:
        return _experiment(
            f"{_first_hypotheses(vocabulary, messages)}\n\n"
            "Exemplars can mislead, so next every colour with every shape, and every texture, alone in a picture.",
            experiments.measure_code(_alone(vocabulary)),
        )
    ranked = _rank(vocabulary, messages)
    if not ranked:
        return _conclusion(None, experiments.observations(vocabulary, messages), messages)
    settled = written >= FIRST_TELLING + TELLING_ROUNDS
    if not settled:
        seen = {observation.things for observation in experiments.observations(vocabulary, messages)}
        pictures = telling_pictures(vocabulary, ranked, PICTURES_A_ROUND, seed=written, seen=seen)
        if pictures:
            return _experiment(
                f"{_hypotheses(ranked[:3])}\n\nThese pictures tell the likely hypotheses apart.",
                experiments.measure_code(pictures),
            )
    edits = _edits(vocabulary, ranked[0].hypothesis)
    if edits and not experiments.edits_seen(messages):
        return _experiment(
            f"{_hypotheses(ranked[:1])}\n\nAs a control, edits that change one thing and leave the rest as it is.",
            experiments.edit_code(edits),
        )
    return _conclusion(ranked[0], experiments.observations(vocabulary, messages), messages)


def _experiment(prose: str, code: str) -> str:
    return f"{prose}\n\n```python\n{code}```\n"


def _hypotheses(ranked: Sequence[Scored]) -> str:
    return "\n".join(
        f"Hypothesis: {scored.hypothesis} (explains {scored.explained:.0%} of the variance so far)" for scored in ranked
    )


def _first_hypotheses(vocabulary: Vocabulary, messages: Sequence[Message]) -> str:
    regions = experiments.exemplar_regions(vocabulary, messages)
    if not regions:
        return "There are no exemplars to go by."
    return "\n".join(f"Hypothesis: {hypothesis} (as the exemplars look)" for hypothesis in likely(vocabulary, regions))


def _rank(vocabulary: Vocabulary, messages: Sequence[Message]) -> list[Scored]:
    return rank(vocabulary, experiments.observations(vocabulary, messages))


def _alone(vocabulary: Vocabulary) -> list[tuple[Thing, ...]]:
    """Every colour with every shape, solid, and every other texture with every shape and changing colours."""
    colours, shapes = vocabulary.colours, vocabulary.shapes
    grid: list[tuple[Thing, ...]] = [(Thing(colour, "solid", shape),) for colour in colours for shape in shapes]
    patterned: list[tuple[Thing, ...]] = [
        (Thing(colours[(i + 3 * j) % len(colours)], texture, shape),)
        for j, texture in enumerate(texture for texture in vocabulary.textures if texture != "solid")
        for i, shape in enumerate(shapes)
    ]
    return grid + patterned


def _edits(vocabulary: Vocabulary, hypothesis: Hypothesis) -> list[tuple[tuple[Thing, ...], str]]:
    """For each concept of the hypothesis: take it out of a picture that drives the unit, one attribute at a time."""
    filled = [
        Thing(
            concept.colour or vocabulary.colours[0],
            concept.texture or "solid",
            concept.shape or vocabulary.shapes[0],
        )
        for concept in hypothesis.concepts
    ]
    picture = tuple(filled) if hypothesis.join == "and" else tuple(filled[:1])
    edits: list[tuple[tuple[Thing, ...], str]] = []
    for thing, concept in zip(picture, hypothesis.concepts, strict=False):
        other_colour = next(c for c in reversed(vocabulary.colours) if c not in {t.colour for t in filled})
        other_shape = next(s for s in reversed(vocabulary.shapes) if s not in {t.shape for t in filled})
        name = f"{thing.colour} {thing.shape}"
        edits.append((picture, f"change the colour of the {name} to {other_colour}"))
        edits.append((picture, f"replace the {name} with a {thing.colour} {other_shape}"))
        if concept.texture:
            edits.append((picture, f"make the {name} {'solid' if thing.texture != 'solid' else 'striped'}"))
    if len(picture) == 2:
        edits += [(picture, f"remove the {thing.colour} {thing.shape}") for thing in picture]
    return edits


def _conclusion(best: Scored | None, seen: Sequence[Observation], messages: Sequence[Message]) -> str:
    if best is None:
        return _tagged(
            f"None of {len(seen)} pictures changed the neuron's activation; no concept of the scene world drives it.",
            "none",
        )
    on = [observation.activation for observation in seen if best.hypothesis.predicts(observation.things)]
    off = [observation.activation for observation in seen if not best.hypothesis.predicts(observation.things)]
    sentences = [
        f"The neuron responds {'weakly and not only ' if best.explained < WEAK else ''}to {_named(best.hypothesis)}.",
        f"Over {len(seen)} pictures, those that hold it reach {_mean(on):.2f} on average ({len(on)} pictures),",
        f"the others {_mean(off):.2f} ({len(off)} pictures); the split explains {best.explained:.0%} of the variance.",
        *_controls(experiments.edits_seen(messages)),
    ]
    return _tagged(" ".join(sentences), str(best.hypothesis))


def _named(hypothesis: Hypothesis) -> str:
    return f"{hypothesis} in the same picture" if hypothesis.join == "and" else str(hypothesis)


def _controls(edits: Sequence[tuple[float, float, str]]) -> list[str]:
    if not edits:
        return []
    changes = "; ".join(
        f"{title.removeprefix('Editing Prompt: ')}: {before:g} to {after:g}" for before, after, title in edits
    )
    return [f"Edits of one thing at a time: {changes}."]


def _tagged(description: str, label: str) -> str:
    return f"[DESCRIPTION]: {description}\n[LABEL 1]: {label}\n"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
