"""Journals as a run writes them: through JournalWriter and the events, with drawn pictures and real maps."""

from __future__ import annotations

import base64
import dataclasses
import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from maia.orchestrator.answers import Answer, answer_to_json
from maia.orchestrator.conversation import Picture
from maia.orchestrator.events import (
    BackboneReply,
    BlockEnded,
    BlockOutput,
    BlockStarted,
    Displayed,
    Event,
    Finished,
    ImageAdded,
    PartEvent,
    PicturePart,
    RunStarted,
    Stopped,
    TextPart,
    ToolCalled,
    ToolReturned,
    UnitName,
    UserMessage,
)
from maia.orchestrator.journal import JournalWriter
from maia.wire.maps import Frame, darken, masked_pixels

DESCRIPTION = "The neuron responds to filled circles of any colour; rings excite it weakly, and corners not at all."
USAGE = {"input": 900, "output": 310, "cache_read": 18_000, "cache_write": 1_200}


COLOURS = {"red": "#c8352b", "blue": "#2b62c8", "green": "#2f8f4e", "yellow": "#d9b32c", "purple": "#8044a8"}


def encoded(image: Image.Image) -> Picture:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return Picture(file.getvalue(), "image/png", image.width, image.height)


def place(seed: int, size: int) -> tuple[float, float, float]:
    """Return centre and radius of the thing in a drawing."""
    rng = random.Random(seed)
    return rng.uniform(0.32, 0.68) * size, rng.uniform(0.32, 0.68) * size, rng.uniform(0.16, 0.26) * size


def drawing(prompt: str, seed: int, size: int) -> Image.Image:
    """Draw the thing that a prompt names on a slightly noisy ground, another picture for every seed."""
    x, y, radius = place(seed, size)
    noise = np.random.default_rng(seed).integers(0, 12, (size, size, 3), np.uint8)
    image = Image.fromarray(noise + np.uint8(random.Random(seed).randrange(150, 230)))
    draw = ImageDraw.Draw(image)
    rng = random.Random(seed)
    colour = next((code for word, code in COLOURS.items() if word in prompt), rng.choice(list(COLOURS.values())))
    box = (x - radius, y - radius, x + radius, y + radius)
    if "circle" in prompt:
        draw.ellipse(box, fill=colour)
    elif "ring" in prompt:
        draw.ellipse(box, outline=colour, width=size // 16)
    elif "square" in prompt:
        draw.rectangle(box, fill=colour)
    return image


class Run:
    """Writes one unit's journal event by event; `size` is that of its pictures."""

    def __init__(
        self,
        folder: Path,
        unit: UnitName,
        agent: str = "scripted",
        *,
        system: str = "You run experiments.",
        size: int = 80,
        task: str = "neuron_description",
        question: str = "",
    ) -> None:
        self.size = size
        self.folder = folder
        self.journal = JournalWriter(folder)
        self.unit = unit
        self.round = self.block = self.call = 0
        self.table: dict[str, tuple[str, int]] = {}
        self.views: dict[str, ImageAdded] = {}
        self.shown: list[list[PartEvent]] = []
        self.append(
            RunStarted(
                unit=unit,
                agent=agent,
                task=task,
                seed=7,
                started_at="2026-11-23T10:14:00+00:00",
                versions={"maia": "0.1.0", "python": "3.11.14"},
                servers={"subject": "scenes-cnn@1", "generation": "scenes@1"},
                sandbox={"tier": "jail", "limits": {"wall_s": 60.0}},
                config={"max_rounds": 25, "base_url": ""},
                system_prompt=system,
                question=question,
            )
        )
        self.say(0, "task", [TextPart("Which pictures drive this neuron? You have 25 rounds.")])

    def append(self, event: Event) -> None:
        self.journal.append(event)

    def say(self, number: int, why: Any, parts: Sequence[PartEvent]) -> None:
        self.append(UserMessage(round=number, why=why, parts=list(parts)))

    def reply(self, text: str, **values: Any) -> None:
        self.round += 1
        model = values.pop("model", "scripted")
        self.append(
            BackboneReply(
                round=self.round, text=text, model=model, seconds=3.21, usage=values.pop("usage", USAGE), **values
            )
        )

    def start(self, code: str) -> None:
        self.block += 1
        self.append(BlockStarted(round=self.round, block=self.block, code=code))

    def end(self, status: str = "ok", message: str = "", state: str = "kept") -> None:
        usage = {"wall_s": 0.012, "cpu_s": 0.011, "tool_s": 1.4, "tool_calls": 2}
        self.append(BlockEnded(block=self.block, status=status, message=message, state=state, usage=usage))

    def use(
        self, tool: str, arguments: Any, result: Any = None, *, warnings: Sequence[str] = (), error: str = ""
    ) -> None:
        self.call += 1
        self.append(ToolCalled(block=self.block, call=self.call, tool=tool, arguments=arguments, digest="0" * 64))
        self.append(
            ToolReturned(
                call=self.call, seconds=0.62, result=result, error=error, value="AAAA", warnings=list(warnings)
            )
        )

    def image(self, source: dict[str, Any], prompt: str = "") -> str:
        """Add a new drawing to the table."""
        seed = 1000 * self.unit.index + len(self.table) + 1
        name = f"img-{len(self.table) + 1}"
        size = self.size
        picture = encoded(drawing(prompt, seed, size))
        self.table[name] = (prompt, seed)
        sha256 = self.journal.add_picture(picture)
        added = ImageAdded(image_id=name, width=size, height=size, sha256=sha256, media_type="image/png", source=source)
        self.append(added)
        return name

    def view(self, of: str, activation: float) -> str:
        """Add a masked view, not composed yet."""
        name = f"img-{len(self.table) + 1}"
        size = self.size
        self.table[name] = self.table[of]
        _, seed = self.table[of]
        cells, threshold = self.map(seed, size, activation)
        view = {
            "unit": f"{self.unit.layer}:{self.unit.index}",
            "activation": activation,
            "threshold": threshold,
            "threshold_from": "exemplars",
            "frame": [0, 0, size, size],
            "map": {"height": 7, "width": 7, "values": base64.b64encode(cells.tobytes()).decode()},
        }
        self.views[name] = ImageAdded(
            image_id=name, width=size, height=size, view_of=of, source={"tool": "system.call_neuron"}, view=view
        )
        self.append(self.views[name])
        return name

    @staticmethod
    def map(seed: int, size: int, activation: float) -> tuple[NDArray[np.float16], float]:
        x, y, radius = (value * 7 / size for value in place(seed, size))
        rows, columns = np.mgrid[0:7, 0:7] + 0.5
        near = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
        return (activation * near).astype("<f2"), max(activation * 0.5, 0.1)

    @staticmethod
    def picture(prompt: str, seed: int) -> Picture:
        return encoded(drawing(prompt, seed, 224))

    def show(self, *items: str) -> None:
        """Display texts, and images by their ids; a view is composed for it, as the image table does."""
        parts: list[PartEvent] = []
        for item in items:
            if item not in self.table:
                parts.append(TextPart(item))
                continue
            (prompt, seed), size = self.table[item], self.size
            image = drawing(prompt, seed, size)
            if item in self.views:
                cells, threshold = self.map(seed, size, self.views[item].view["activation"])
                mask = masked_pixels((size, size), cells, Frame.whole(size, size), threshold)
                image = Image.fromarray(darken(np.asarray(image), mask))
            sha256 = self.journal.add_picture(encoded(image))
            if item in self.views:
                self.append(dataclasses.replace(self.views[item], sha256=sha256, media_type="image/png"))
            parts.append(PicturePart(sha256, "image/png", size, size, item))
        self.shown.append(parts)
        self.append(Displayed(block=self.block, parts=parts))

    def print(self, text: str) -> None:
        self.append(BlockOutput(block=self.block, text=text))

    def exemplars(self, count: int = 15) -> list[str]:
        tool = "tools.dataset_exemplars"
        originals = [self.image({"tool": tool, "dataset": "scenes", "index": 37 * n}, "circle") for n in range(count)]
        activations = [round(9.4 - 0.21 * n, 2) for n in range(count)]
        views = [self.view(image, value) for image, value in zip(originals, activations, strict=True)]
        answer = [[value, {"image": view}] for value, view in zip(activations, views, strict=True)]
        self.use(tool, {"system": "system"}, answer)
        return views

    def measure(self, prompts: Sequence[str], activations: Sequence[float], warnings: Sequence[str] = ()) -> list[str]:
        """Draw prompts and measure them; return the views."""
        tool = "tools.text2image"
        seed = 4711 + len(self.table)
        images = [self.image({"tool": tool, "prompt": text, "seed": seed + n}, text) for n, text in enumerate(prompts)]
        self.use(tool, {"prompts": list(prompts)}, [{"image": name} for name in images], warnings=warnings)
        views = [self.view(image, value) for image, value in zip(images, activations, strict=True)]
        answer = [list(activations), [{"image": name} for name in views]]
        self.use("system.call_neuron", {"images": [{"image": name} for name in images]}, answer)
        return views

    def answer(self, answer: Answer) -> None:
        """Conclude with an answer of any form, as the loop does."""
        self.conclude(answer.description, answer.labels, answer_to_json(answer))

    def conclude(self, description: str, labels: Sequence[str], answer: dict[str, Any] | None = None) -> None:
        self.append(
            Finished(
                how="concluded",
                description=description,
                labels=list(labels),
                rounds=self.round,
                tool_calls=self.call,
                seconds=74.2,
                answer=answer or {},
            )
        )
        self.journal.close()

    def give_up(self) -> None:
        finished = Finished(
            how="no_conclusion", description="", labels=[], rounds=self.round, tool_calls=self.call, seconds=300.5
        )
        self.append(finished)
        self.journal.close()

    def stop(self, why: Any = "paused", message: str = "the generation server at 127.0.0.1:50052 is down") -> None:
        self.append(
            Stopped(why=why, reason="INTERRUPTED" if why == "interrupted" else "SERVER_UNAVAILABLE", message=message)
        )
        self.journal.close()


EXEMPLARS = """exemplars = tools.dataset_exemplars(system)
for activation, view in exemplars:
    tools.display(activation, view)
"""
COMPARE = """prompts = ["a red circle on a grey background", "a blue circle on a grey background",
           "a red square on a grey background", "an empty grey background"]
images = tools.text2image(prompts)
activations, views = system.call_neuron(images)
for prompt, activation, view in zip(prompts, activations, views):
    tools.display(f"{activation:.2f}", view)  # every number beside its picture
"""
BROKEN = """rings = tools.text2image(["a yellow ring"] * 3)
activations, views = system.call_neuron(rings)
print(activatons)
"""
EDIT = """everything, titles = tools.edit_images(rings[0], ["fill the ring with yellow", "add a blue square"])
print(system.call_neuron(everything)[0])
tools.describe_images([], ["a"])
"""
TRACE = """Traceback (most recent call last):
  block 3, line 3
    print(activatons)
NameError: name 'activatons' is not defined. Did you mean: 'activations'?
"""


def investigate(folder: Path, index: int = 12, agent: str = "anthropic", size: int = 80) -> Run:
    """Write the rounds of a believable run, without its end."""
    run = Run(folder, UnitName(model="scenes-cnn", layer="layer3", index=index), agent, size=size)
    run.reply(
        "I start from the dataset images that drive the neuron **most**.\n\n"
        f"```python\n{EXEMPLARS}```\nThen I will form a first hypothesis."
    )
    run.start(EXEMPLARS)
    views = run.exemplars()
    run.show(*(item for n, view in enumerate(views[:6]) for item in (f"{9.4 - 0.21 * n:.2f}", view)))
    run.print("15 exemplars, from 6.46 to 9.40\n")
    run.end()
    run.say(1, "results", [TextPart("15 exemplars")])
    run.reply(
        "What the exemplars share:\n\n- round outlines, some of them `red`\n- a plain ground\n\n"
        "Hypothesis 1: the neuron responds to red things.\nHypothesis 2: it responds to circles of any colour.\n\n"
        f"To tell them apart I change one thing at a time.\n\n```python\n{COMPARE}```\n"
    )
    run.start(COMPARE)
    ground = "on a grey background"
    prompts = [
        f"a red circle {ground}",
        f"a blue circle {ground}",
        f"a red square {ground}",
        "an empty grey background",
    ]
    values = [9.12, 7.88, 1.21, 0.04]
    views = run.measure(prompts, values, ["'photo' is no word of the grammar and was left out of the drawing"])
    run.show(*(item for value, view in zip(values, views, strict=True) for item in (f"{value:.2f}", view)))
    run.end()
    run.say(2, "results", [TextPart("…")])
    run.reply("Colour seems not to matter. I would rather think about it first.")
    run.say(3, "no_code", [TextPart("Your reply had no code block. Write one to run an experiment, or conclude.")])
    run.reply(
        "[HYPOTHESIS LIST]\n1. circles of any colour\n2. round **closed** outlines, rings included\n\n"
        f"```python\n{BROKEN}```\n"
    )
    run.start(BROKEN)
    rings = run.measure(["a yellow ring", "a yellow ring", "a yellow ring"], [3.4, 4.2, 2.9])
    run.end("exception", "NameError: name 'activatons' is not defined. Did you mean: 'activations'?", TRACE)
    run.say(4, "results", [TextPart(TRACE)])
    run.reply(f"Revised hypothesis: filled circles; rings excite it weakly.\n\n```python\n{EDIT}```\n")
    run.start(EDIT)
    edits = {"fill the ring with yellow": "yellow circle", "add a blue square": "blue square"}
    edited = [
        run.image({"tool": "tools.edit_images", "edit": e, "of": rings[0], "seed": 9}, p) for e, p in edits.items()
    ]
    arguments = {"images": {"image": rings[0]}, "edits": list(edits)}
    run.use("tools.edit_images", arguments, [[{"image": name} for name in edited], ["Original Image"]])
    run.view(edited[0], 8.61)
    run.view(edited[1], 3.3)
    run.print("[3.4, 8.61, 3.3]\n")
    run.use("tools.describe_images", {"images": [], "titles": ["a"]}, error="titles: 1 title for 0 images")
    run.end("wall_clock", "The block ran for 60 s, its limit. Do less at a time.", state="lost")
    run.say(5, "results", [TextPart("…")])
    run.reply(f"[DESCRIPTION]: {DESCRIPTION}\n[LABEL 1]: circle\n[LABEL 2]: filled round shape", stop_reason="end_turn")
    return run


@pytest.fixture
def new_run() -> Callable[..., Run]:
    """Begin a journal of one's own."""
    return Run


@pytest.fixture
def investigated() -> Callable[..., Run]:
    """Write a believable run without its end."""
    return investigate
