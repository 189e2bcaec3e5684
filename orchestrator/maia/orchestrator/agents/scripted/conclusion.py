"""What the scripted agent says in the end, in the form that is asked for; also of a unit that responds to nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from maia.orchestrator.agents.scripted import experiments
from maia.orchestrator.agents.scripted.concepts import Vocabulary
from maia.orchestrator.agents.scripted.foresight import foretold
from maia.orchestrator.agents.scripted.hypotheses import Hypothesis
from maia.orchestrator.agents.scripted.inference import Observation, Scored, likely
from maia.orchestrator.answers import Form
from maia.orchestrator.conversation import Message
from maia.orchestrator.errors import BackboneError

WEAK: Final = 0.3
"""A best hypothesis that explains less of the variance than this is called weak in the description."""
CERTAIN: Final = 0.5
"""What explains so much is believed, even if it was found too late to foretell anything: of noise over some 200
pictures, the best hypothesis explained 18 % at most in 100 runs."""


ENOUGH: Final = 0.9
"""A unit is called selective if so many of the pictures that hold its class hold what drives it."""

_FORM: Final = re.compile(r"^\[(DESCRIPTION|BIAS|VERDICT|ANSWER)\]:", re.MULTILINE)
_FORMS: Final[Mapping[str, Form]] = {"DESCRIPTION": "labels", "BIAS": "bias", "VERDICT": "verdict", "ANSWER": "text"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What the experiments came to.

    Attributes:
        description: In sentences.
        hypothesis: What drives the unit; None where nothing that can be drawn does.
    """

    description: str
    hypothesis: Hypothesis | None = None

    @property
    def label(self) -> str:
        """The hypothesis in words, or "none"."""
        return str(self.hypothesis) if self.hypothesis else "none"


def form_asked(system: str) -> Form | None:
    """Return the form of answer that a system prompt asks for; None if it is none of ours."""
    match = _FORM.search(system)
    return _FORMS[match[1]] if match else None


def conclude(vocabulary: Vocabulary, best: Scored | None, messages: Sequence[Message], form: Form = "labels") -> str:
    """Return the reply that concludes.

    The plan is the same for every task: it finds what drives the unit. What follows from that for the task is said, and
    what it cannot know is said as well.

    Args:
        vocabulary: What was experimented with.
        best: The best hypothesis; None when there is none to be had.
        messages: The whole conversation.
        form: Of the answer.

    Raises:
        BackboneError: A verdict is asked for, and no dataset images say what the unit's class would be.
    """
    found = _finding(vocabulary, best, messages)
    match form:
        case "labels":
            return f"[DESCRIPTION]: {found.description}\n[LABEL 1]: {found.label}\n"
        case "bias":
            return _bias(found)
        case "verdict":
            return _verdict(found, vocabulary, messages)
        case "text":
            return f"[ANSWER]: This fixed plan reads no question; it finds what drives a neuron. {found.description}\n"
        case _:
            assert_never(form)


def _bias(found: Finding) -> str:
    if found.hypothesis is None:
        return f"[BIAS]: No context was found in which the score is lower than elsewhere. {found.description}\n"
    return (
        f"[BIAS]: The score is low in pictures without {_named(found.hypothesis)}. Whether such pictures can show the"
        f" class, this fixed plan does not know. {found.description}\n"
        f"[CONTEXT 1]: without {found.label}\n"
    )


def _verdict(found: Finding, vocabulary: Vocabulary, messages: Sequence[Message]) -> str:
    """Take for the class what the dataset images look like, and ask whether by itself it drives the unit."""
    regions = experiments.exemplar_regions(vocabulary, messages)
    if not regions:
        raise BackboneError(
            "no dataset images are stored for this unit, and the scripted agent knows of no other class that it could"
            " be selective for; find exemplars first, or choose another --agent",
            transient=False,
        )
    seeming = likely(vocabulary, regions, top=1)[0]
    drawn = [observation.picture for seen in experiments.rounds_drawn(vocabulary, messages) for observation in seen]
    shown = [picture for picture in drawn if seeming.predicts(picture)]
    driving = sum(found.hypothesis is not None and found.hypothesis.predicts(picture) for picture in shown)
    word = "SELECTIVE" if shown and driving >= ENOUGH * len(shown) else "SPURIOUS"
    return (
        f"[VERDICT]: {word}\n[REASONING]: The dataset images look as if the neuron stood for {_named(seeming)}. Of"
        f" {len(shown)} drawn pictures that hold it, {driving} hold what drives the neuron. {found.description}\n"
    )


def _finding(vocabulary: Vocabulary, best: Scored | None, messages: Sequence[Message]) -> Finding:
    seen = experiments.observations(vocabulary, messages)
    if best is None:
        return Finding(_indifferent(seen))
    if best.explained < CERTAIN and not _foretold(vocabulary, messages):
        return Finding(_without_pattern(seen, best))
    on = [observation.activation for observation in seen if best.hypothesis.predicts(observation.picture)]
    off = [observation.activation for observation in seen if not best.hypothesis.predicts(observation.picture)]
    sentences = [
        f"The neuron responds {'weakly and not only ' if best.explained < WEAK else ''}to {_named(best.hypothesis)}.",
        f"Over {len(seen)} pictures, those that hold it reach {_mean(on):.2f} on average ({len(on)} pictures),",
        f"the others {_mean(off):.2f} ({len(off)} pictures); the split explains {best.explained:.0%} of the variance.",
        *_controls(experiments.edits_seen(messages)),
    ]
    return Finding(" ".join(sentences), best.hypothesis)


def _foretold(vocabulary: Vocabulary, messages: Sequence[Message]) -> bool:
    alone, *telling = experiments.rounds_drawn(vocabulary, messages) or [[]]
    return foretold(vocabulary, [*experiments.exemplar_scenes(vocabulary, messages), *alone], telling)


def _indifferent(seen: Sequence[Observation]) -> str:
    level = seen[0].activation if seen else 0.0
    answered = (
        f"answered {level:g} to all of {len(seen)} pictures alike, whatever they show"
        if level
        else f"did not respond to any of {len(seen)} pictures"
    )
    return f"The neuron {answered}; no concept of the scene world drives it."


def _without_pattern(seen: Sequence[Observation], best: Scored) -> str:
    values = [observation.activation for observation in seen]
    return (
        f"The neuron responds without a pattern: over {len(seen)} pictures its activation varies from {min(values):g}"
        f" to {max(values):g}, and what seemed best before each round foretold no better than chance which of its"
        f" pictures would drive the neuron. The last hypothesis, {best.hypothesis}, explains {best.explained:.0%} of"
        " the variance, as the best of so many does on any noise; no concept of the scene world drives the neuron."
    )


def _named(hypothesis: Hypothesis) -> str:
    return f"{hypothesis} in the same picture" if hypothesis.form == "and" else str(hypothesis)


def _controls(edits: Sequence[tuple[float, float, str]]) -> list[str]:
    if not edits:
        return []
    changes = "; ".join(
        f"{title.removeprefix('Editing Prompt: ')}: {before:g} to {after:g}" for before, after, title in edits
    )
    return [f"Edits of one thing at a time: {changes}."]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
