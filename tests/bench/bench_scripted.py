"""How often the scripted agent finds the truth of synthetic neurons, beside what the exemplars alone would have given.

The exemplars alone: of all hypotheses, the one under which the described highlighted regions are most likely, which is
what the agent itself believes before its first experiment (`maia.orchestrator.agents.scripted.inference.likely`).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.table import show

from maia.orchestrator.agents.scripted.concepts import Vocabulary
from maia.orchestrator.agents.scripted.experiments import exemplar_regions
from maia.orchestrator.agents.scripted.inference import likely
from maia.orchestrator.conversation import Message, Text
from maia.orchestrator.events import RunStarted, TextPart, UserMessage
from maia.orchestrator.journal import JournalReader

NEURONS = 20
SEED = 1
UNITS = {"mono": 47, "or": 20, "and": 20}


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        results = list(_investigate(Path(folder)))
    found = sum(label == truth for label, truth, _ in results)
    guessed = sum(guess == truth for _, truth, guess in results)
    for label, truth, guess in results:
        if label != truth:
            print(f"  missed: {label!r} where the truth is {truth!r} (exemplars alone: {guess!r})")
    show(
        [
            ("labels equal to the truth, scripted agent", f"≥ 18 of {NEURONS}", f"{found} of {len(results)}"),
            ("the same from the exemplars alone", "beside it", f"{guessed} of {len(results)}"),
        ]
    )


def _investigate(folder: Path) -> Iterator[tuple[str, str, str]]:
    every = [(layer, unit) for layer, units in UNITS.items() for unit in range(units)]
    chosen = sorted(random.Random(SEED).sample(every, NEURONS))
    by_layer = {layer: [unit for other, unit in chosen if other == layer] for layer in UNITS}
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
        yield values["labels"][0], values["truth"], _from_exemplars(result.parent)


def _from_exemplars(folder: Path) -> str:
    """Return the label that the first round's exemplar descriptions alone suggest."""
    events = JournalReader(folder).events
    vocabulary = next(Vocabulary.read(event.system_prompt) for event in events if isinstance(event, RunStarted))
    assert vocabulary is not None
    results = next(event for event in events if isinstance(event, UserMessage) and event.why == "results")
    text = "\n".join(part.text for part in results.parts if isinstance(part, TextPart))
    exemplars = exemplar_regions(vocabulary, [Message("user", (Text(text),))])
    assert exemplars
    return str(likely(vocabulary, exemplars, top=1)[0])
