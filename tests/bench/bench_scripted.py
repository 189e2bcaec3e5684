"""How often the scripted agent finds the truth of synthetic neurons, beside what the exemplars alone would have given.

A sample of each kind of unit is investigated, and all that have no concept. The exemplars alone: of all hypotheses of
one or two concepts, the one under which the described highlighted regions are most likely, which is what the agent
itself believes before its first experiment (`maia.orchestrator.agents.scripted.inference.likely`).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.table import show

from maia.orchestrator.agents.scripted.concepts import Vocabulary
from maia.orchestrator.agents.scripted.experiments import exemplar_regions
from maia.orchestrator.agents.scripted.inference import likely
from maia.orchestrator.conversation import Message, Text
from maia.orchestrator.events import RunStarted, TextPart, UserMessage
from maia.orchestrator.journal import JournalReader
from maia.services.subject.backends.scene_neurons.table import rules

SAMPLE = {"mono": 10, "or": 5, "and": 5, "andnot": 5, "or3": 4, "count": 4, "relation": 4, "control": 6}
SEED = 1


@dataclass(frozen=True, slots=True)
class Investigated:
    """What was said of a unit, and what it is."""

    kind: str
    label: str
    truth: str
    right: bool
    guess: str


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        results = list(_investigate(Path(folder)))
    for one in results:
        if not one.right:
            print(f"  missed: {one.label!r} where the truth is {one.truth!r} (exemplars alone: {one.guess!r})")
    lines = []
    for kind in SAMPLE:
        of_kind = [one for one in results if one.kind == kind]
        right, guessed = sum(one.right for one in of_kind), sum(one.guess == one.truth for one in of_kind)
        lines.append(
            (f"labels equal to the truth, {kind}", "most", f"{right} of {len(of_kind)}, by exemplars {guessed}")
        )
    old = [one for one in results if one.kind in ("mono", "or", "and")]
    lines.append(("the same, one or two concepts", "≥ 18 of 20", f"{sum(one.right for one in old)} of {len(old)}"))
    show(lines)


def _investigate(folder: Path) -> Iterator[Investigated]:
    kinds = {
        (layer, unit): "control" if rule.control else rule.kind
        for layer, units in rules().items()
        for unit, rule in enumerate(units)
    }
    random_of = random.Random(SEED)
    chosen = sorted(
        unit
        for kind, number in SAMPLE.items()
        for unit in random_of.sample([unit for unit, of in kinds.items() if of == kind], number)
    )
    by_layer = {layer: [unit for other, unit in chosen if other == layer] for layer in rules()}
    units = folder / "units.json"
    units.write_text(json.dumps({layer: numbers for layer, numbers in by_layer.items() if numbers}))
    maia = str(Path(sys.executable).parent / "maia")
    command = [maia, "run", "--up", "--agent", "scripted", "--model", "scene-neurons", "--unit-mode", "from_file"]
    subprocess.run(
        [*command, "--unit-file-path", str(units), "--out", str(folder / "out"), "--seed", str(SEED)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for result in sorted((folder / "out").rglob("result.json")):
        values = json.loads(result.read_text())
        kind = kinds[values["unit"]["layer"], values["unit"]["index"]]
        guess = _from_exemplars(result.parent)
        yield Investigated(kind, values["labels"][0], values["truth"], values["matched"], guess)


def _from_exemplars(folder: Path) -> str:
    """Return the label that the first round's exemplar descriptions alone suggest."""
    events = JournalReader(folder).events
    vocabulary = next(Vocabulary.read(event.system_prompt) for event in events if isinstance(event, RunStarted))
    assert vocabulary is not None
    results = next(event for event in events if isinstance(event, UserMessage) and event.why == "results")
    text = "\n".join(part.text for part in results.parts if isinstance(part, TextPart))
    exemplars = exemplar_regions(vocabulary, [Message("user", (Text(text),))])
    return str(likely(vocabulary, exemplars, top=1)[0])
