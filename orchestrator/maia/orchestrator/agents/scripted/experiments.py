"""The code that the scripted agent writes, and how it reads what the code printed.

Every block prints a line per picture, `<activation> | <what was drawn>`, and the exemplar block prints the describer's
lines; the agent reads these back from the conversation, as a VLM reads them, and keeps nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from maia.orchestrator.agents.scripted.concepts import Picture, Vocabulary
from maia.orchestrator.agents.scripted.inference import Observation
from maia.orchestrator.conversation import Message

_MEASURED = re.compile(r"^\s*(-?\d+(?:\.\d+)?) \| (.+)$", re.MULTILINE)
_EDITED = re.compile(r"^edit\s+(-?\d+(?:\.\d+)?) -> \s*(-?\d+(?:\.\d+)?) \| (.+)$", re.MULTILINE)
_EXEMPLAR = re.compile(r'^"(whole|region) (-?\d+(?:\.\d+)?)", HIGHLIGHTED REGIONS: (.*)$', re.MULTILINE)

EXEMPLARS = """\
exemplars = tools.dataset_exemplars(system)
activations = [activation for activation, view in exemplars]
views = [view for activation, view in exemplars]
print("exemplar activations:", activations)
print(tools.describe_images(views, [f"region {a}" for a in activations]))
print(tools.describe_images([view.source for view in views], [f"whole {a}" for a in activations]))
print("in common:", tools.summarize_images(views))
tools.display(*views)
"""

_MEASURE = """\
prompts = {prompts}
images = tools.text2image(prompts)
activations, views = system.call_neuron(images)
for activation, prompt in sorted(zip(activations, prompts), reverse=True):
    print(f"{{activation:8.2f}} | {{prompt}}")
order = sorted(range(len(prompts)), key=lambda i: activations[i], reverse=True)
shown = order[:4] + order[-2:]
tools.display(*[item for i in shown for item in (f"{{activations[i]}}: {{prompts[i]}}", views[i])])
"""

_EDIT = """\
originals = tools.text2image({prompts})
pictures, titles = tools.edit_images(originals, {edits})
activations, views = system.call_neuron(pictures)
for i in range(0, len(pictures), 2):
    print(f"edit {{activations[i]:8.2f}} -> {{activations[i + 1]:8.2f}} | {{titles[i + 1]}}")
tools.display(*[item for i in range(len(pictures)) for item in (f"{{titles[i]}}: {{activations[i]}}", views[i])])
"""


def measure_code(pictures: Sequence[Picture]) -> str:
    """Return the block that draws pictures and measures the unit on them."""
    return _MEASURE.format(prompts=_listing([str(picture) for picture in pictures]))


def edit_code(edits: Sequence[tuple[Picture, str]]) -> str:
    """Return the block that draws pictures, edits each and measures before and after."""
    return _EDIT.format(
        prompts=_listing([str(picture) for picture, _ in edits]), edits=_listing([edit for _, edit in edits])
    )


def _listing(texts: Sequence[str]) -> str:
    return "[\n" + "".join(f"    {json.dumps(text)},\n" for text in texts) + "]"


def observations(vocabulary: Vocabulary, messages: Sequence[Message]) -> list[Observation]:
    """Read every measured picture out of the results: exemplars as the describer saw them, and drawn pictures."""
    drawn = (observation for seen in rounds_drawn(vocabulary, messages) for observation in seen)
    return [*exemplar_scenes(vocabulary, messages), *drawn]


def rounds_drawn(vocabulary: Vocabulary, messages: Sequence[Message]) -> list[list[Observation]]:
    """Read the pictures that were drawn to be measured, the pictures of each round apart."""
    rounds = (
        [Observation(vocabulary.picture(match[2]), float(match[1])) for match in _MEASURED.finditer(text)]
        for text in _results(messages)
    )
    return [seen for seen in rounds if seen]


def exemplar_scenes(vocabulary: Vocabulary, messages: Sequence[Message]) -> list[Observation]:
    """Read the exemplars, whole pictures."""
    return _exemplars("whole", vocabulary, messages)


def exemplar_regions(vocabulary: Vocabulary, messages: Sequence[Message]) -> list[Observation]:
    """Read the exemplars, highlighted regions only."""
    return _exemplars("region", vocabulary, messages)


def edits_seen(messages: Sequence[Message]) -> list[tuple[float, float, str]]:
    """Read the activations before and after each edit."""
    return [
        (float(match[1]), float(match[2]), match[3]) for text in _results(messages) for match in _EDITED.finditer(text)
    ]


def _exemplars(what: str, vocabulary: Vocabulary, messages: Sequence[Message]) -> list[Observation]:
    found = (match for text in _results(messages) for match in _EXEMPLAR.finditer(text) if match[1] == what)
    return [Observation(vocabulary.picture(match[3]), float(match[2])) for match in found]


def _results(messages: Sequence[Message]) -> Iterator[str]:
    return (message.text for message in messages if message.role == "user")
