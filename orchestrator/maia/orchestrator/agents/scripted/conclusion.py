"""What the scripted agent says in the end, also of a unit that responds to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from maia.orchestrator.agents.scripted import experiments
from maia.orchestrator.agents.scripted.concepts import Vocabulary
from maia.orchestrator.agents.scripted.foresight import foretold
from maia.orchestrator.agents.scripted.hypotheses import Hypothesis
from maia.orchestrator.agents.scripted.inference import Observation, Scored
from maia.orchestrator.conversation import Message

WEAK: Final = 0.3
"""A best hypothesis that explains less of the variance than this is called weak in the description."""
CERTAIN: Final = 0.5
"""What explains so much is believed, even if it was found too late to foretell anything: of noise over some 200
pictures, the best hypothesis explained 18 % at most in 100 runs."""


def conclude(vocabulary: Vocabulary, best: Scored | None, messages: Sequence[Message]) -> str:
    """Return the reply with description and label.

    Args:
        vocabulary: What was experimented with.
        best: The best hypothesis; None when there is none to be had.
        messages: The whole conversation.
    """
    seen = experiments.observations(vocabulary, messages)
    if best is None:
        return _tagged(_indifferent(seen), "none")
    if best.explained < CERTAIN and not _foretold(vocabulary, messages):
        return _tagged(_without_pattern(seen, best), "none")
    on = [observation.activation for observation in seen if best.hypothesis.predicts(observation.picture)]
    off = [observation.activation for observation in seen if not best.hypothesis.predicts(observation.picture)]
    sentences = [
        f"The neuron responds {'weakly and not only ' if best.explained < WEAK else ''}to {_named(best.hypothesis)}.",
        f"Over {len(seen)} pictures, those that hold it reach {_mean(on):.2f} on average ({len(on)} pictures),",
        f"the others {_mean(off):.2f} ({len(off)} pictures); the split explains {best.explained:.0%} of the variance.",
        *_controls(experiments.edits_seen(messages)),
    ]
    return _tagged(" ".join(sentences), str(best.hypothesis))


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


def _tagged(description: str, label: str) -> str:
    return f"[DESCRIPTION]: {description}\n[LABEL 1]: {label}\n"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
