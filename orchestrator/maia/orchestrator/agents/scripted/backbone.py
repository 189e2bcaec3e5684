"""The scripted agent: a fixed plan of experiments in the scene world, no language model.

It proves that the system works end to end, not that it is intelligent. It writes real code, reads the printed results
and nothing else, and its plan is the textbook one: exemplars, every concept alone, pictures on which the best
hypotheses disagree, edits that change one thing, a conclusion.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Final

from maia.orchestrator.agents.scripted import experiments
from maia.orchestrator.agents.scripted.concepts import Concept, Picture, Thing, Vocabulary
from maia.orchestrator.agents.scripted.conclusion import conclude, form_asked
from maia.orchestrator.agents.scripted.hypotheses import Hypothesis
from maia.orchestrator.agents.scripted.inference import Scored, likely, rank
from maia.orchestrator.agents.scripted.telling import telling_pictures
from maia.orchestrator.answers import Form
from maia.orchestrator.conversation import Message, Reply
from maia.orchestrator.errors import BackboneError

PICTURES_A_ROUND: Final = 24
TELLING_ROUNDS: Final = 3
FIRST_TELLING: Final = 2
"""Replies before the first round of telling pictures: exemplars, and every concept alone."""


@cache
def _thinking() -> ThreadPoolExecutor:
    """One thread: several that compute in Python would only keep each other, and the event loop, waiting."""
    return ThreadPoolExecutor(1, thread_name_prefix="scripted")


@dataclass(frozen=True, slots=True)
class ScriptedBackbone:
    """Writes a fixed plan of experiments; its words come from the system prompt, its state from the conversation."""

    name: str = "scripted"

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        """Write the next experiment of the plan, or conclude.

        Raises:
            BackboneError: The generator is not that of the scene world, whose words the plan needs, or the task asks
                for an answer that the agent cannot write.
        """
        vocabulary = Vocabulary.read(system)
        if vocabulary is None:
            raise BackboneError(
                "the scripted agent knows the scene world only, and this generator's prompt guide lists no shapes,"
                " colours and textures; choose another --agent",
                transient=False,
            )
        form = form_asked(system)
        if form is None:
            raise BackboneError(
                "the scripted agent can end with [DESCRIPTION]:, [BIAS]:, [VERDICT]: or [ANSWER]: only, and no line of"
                " this task's system prompt begins with one of these; choose another --agent",
                transient=False,
            )
        # It computes for up to a second, and other units have the event loop meanwhile.
        loop = asyncio.get_running_loop()
        return Reply(await loop.run_in_executor(_thinking(), _plan, vocabulary, messages, form), self.name)

    async def aclose(self) -> None:
        """Nothing to close."""


def _plan(vocabulary: Vocabulary, messages: Sequence[Message], form: Form) -> str:
    written = sum(message.role == "assistant" for message in messages)
    if written == 0:
        return _experiment("First the dataset images that drive the neuron most.", experiments.EXEMPLARS)
    if written == 1:
        return _experiment(
            f"{_first_hypotheses(vocabulary, messages)}\n\n"
            "Exemplars can mislead, so next every colour with every shape, and every texture, alone in a picture.",
            experiments.measure_code(_alone(vocabulary)),
        )
    seen = experiments.observations(vocabulary, messages)
    ranked = rank(vocabulary, seen)
    if not ranked:
        return conclude(vocabulary, None, messages, form)
    settled = written >= FIRST_TELLING + TELLING_ROUNDS
    if not settled:
        known = {observation.picture for observation in seen}
        pictures = telling_pictures(vocabulary, ranked, PICTURES_A_ROUND, seed=written, seen=known)
        if pictures:
            return _experiment(
                f"{_hypotheses(ranked[:3])}\n\nThese pictures tell the likely hypotheses apart, and some are controls.",
                experiments.measure_code(pictures),
            )
    edits = _edits(vocabulary, ranked[0].hypothesis)
    if edits and not experiments.edits_seen(messages):
        return _experiment(
            f"{_hypotheses(ranked[:1])}\n\nAs a control, edits that change one thing and leave the rest as it is.",
            experiments.edit_code(edits),
        )
    return conclude(vocabulary, ranked[0], messages, form)


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


def _alone(vocabulary: Vocabulary) -> list[Picture]:
    """Every colour with every shape, solid, and every other texture with every shape and changing colours."""
    colours, shapes = vocabulary.colours, vocabulary.shapes
    grid = [Thing(colour, "solid", shape) for colour in colours for shape in shapes]
    patterned = [
        Thing(colours[(i + 3 * j) % len(colours)], texture, shape)
        for j, texture in enumerate(texture for texture in vocabulary.textures if texture != "solid")
        for i, shape in enumerate(shapes)
    ]
    return [Picture((thing,)) for thing in (*grid, *patterned)]


def _edits(vocabulary: Vocabulary, hypothesis: Hypothesis) -> list[tuple[Picture, str]]:
    """Edit a picture that drives the unit: take concepts out of it, one attribute at a time, or add the unwanted."""
    things = [_example(vocabulary, concept) for concept in hypothesis.concepts]
    together = hypothesis.form in ("and", "relation")
    shown = things if together else things[:1] * hypothesis.least
    picture = Picture(tuple(shown), hypothesis.relation)
    edits: list[tuple[Picture, str]] = []
    for thing, concept in zip(shown if together else shown[:1], hypothesis.concepts, strict=False):
        other_colour = next(c for c in reversed(vocabulary.colours) if c not in {t.colour for t in things})
        other_shape = next(s for s in reversed(vocabulary.shapes) if s not in {t.shape for t in things})
        name = f"{thing.colour} {thing.shape}"
        edits.append((picture, f"change the colour of the {name} to {other_colour}"))
        edits.append((picture, f"replace the {name} with a {thing.colour} {other_shape}"))
        if concept.texture:
            edits.append((picture, f"make the {name} {'solid' if thing.texture != 'solid' else 'striped'}"))
    if together:
        edits += [(picture, f"remove the {thing.colour} {thing.shape}") for thing in shown]
    elif hypothesis.form == "count":
        edits.append((picture, f"remove one {shown[0].colour} {shown[0].shape}"))
    elif hypothesis.form == "andnot":
        edits.append((picture, f"add a {things[1]}"))
    return edits


def _example(vocabulary: Vocabulary, concept: Concept) -> Thing:
    return Thing(
        concept.colour or vocabulary.colours[0], concept.texture or "solid", concept.shape or vocabulary.shapes[0]
    )
