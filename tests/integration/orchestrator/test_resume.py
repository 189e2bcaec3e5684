"""A journal that was cut anywhere goes on to the same end: nothing that had arrived is asked for again."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maia.orchestrator.conversation import Message, Reply, TokenUsage
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import (
    BackboneReply,
    BlockStarted,
    Event,
    Finished,
    ImageAdded,
    Resumed,
    TextPart,
    ToolCalled,
    UnitName,
    UserMessage,
)
from maia.orchestrator.journal import FILE_NAME, IMAGES, JournalReader, decode_line, encode_line
from maia.orchestrator.run import RunSettings, investigate_unit, unit_folder
from maia.orchestrator.wiring import Lab
from maia.sandbox import Limits

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNIT = UnitName("scene-neurons", "or", 1)


_TIMES = {"at", "seconds", "usage", "started_at"}


def code(*blocks: str) -> str:
    return "\n".join(f"```python\n{block}\n```" for block in blocks)


REPLIES = (
    code(
        """\
import random
from PIL import Image as I
try:
    tools.dataset_exemplars(system)
except ToolError as error:
    print(error)
images = tools.text2image(["a red circle on grey", "a blue square", "a purple dog"])
activations, views = system.call_neuron(images)
print(activations, random.random(), hash("a"))
tools.display("views", views[0], views[1])""",
        """\
own = I.new("RGB", (64, 64), (255, 0, 0))
half = np.asarray(views[0].pil())[:, :64]
tools.display(own, half, random.random())
again, _ = system.call_neuron([own, own, I.new("L", (40, 40), 7)])
print(again)""",
    ),
    "I wonder.",
    code("z = 5\nactivations += again\nprint(1 / 0)", "print('never')"),
    code(
        """\
edited, prompts = tools.edit_images(images[:2], ["make the circle blue", "remove the square"])
print(prompts, system.call_neuron(edited)[0], random.random())
print(tools.describe_images(edited[:2], ["a", "b"]))""",
        "w = 1\nwhile True: pass",
    ),
    code("print(z, len(activations), 'w' in globals(), own.size, random.random())\ntools.display(views[2], edited)"),
    "[DESCRIPTION]: It likes circles.\n[LABEL 1]: circle\n",
)


@dataclass
class Vendor:
    """Answers the conversation that it is shown, and counts what it was asked."""

    asked: list[int] = field(default_factory=list)
    seen: dict[int, Sequence[Message]] = field(default_factory=dict)
    name: str = "vendor"

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        turn = sum(message.role == "assistant" for message in messages)
        self.asked.append(turn)
        self.seen[turn] = tuple(messages)
        return Reply(REPLIES[turn], "vendor-1", TokenUsage(10, 3), "end_turn")

    async def aclose(self) -> None:
        pass


@dataclass
class Whole:
    """A run that nothing has disturbed."""

    lab: Lab
    folder: Path
    vendor: Vendor
    events: tuple[Event, ...]
    journal: bytes

    def __repr__(self) -> str:
        return "Whole()"

    def settings(self, out: Path) -> RunSettings:
        return RunSettings("vendor", out, max_rounds=10, limits=Limits(wall_s=1.0), policy="off")

    async def go_on(self, out: Path, vendor: Vendor, unit: UnitName = UNIT) -> Any:
        return await investigate_unit(unit, replace(self.lab, backbone=vendor), self.settings(out))

    def cut(self, out: Path, size: int) -> Path:
        """Leave a journal of so many bytes in a new folder."""
        folder = unit_folder(out, "vendor", UNIT)
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.folder / IMAGES, folder / IMAGES)
        (folder / FILE_NAME).write_bytes(self.journal[:size])
        return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp("whole")
    folder = unit_folder(out, "vendor", UNIT)
    run = Whole(lab, folder, Vendor(), (), b"")
    ended = await run.go_on(out, run.vendor)
    assert isinstance(ended, Finished)
    assert ended.how == "concluded"
    run.events, run.journal = JournalReader(folder).events, (folder / FILE_NAME).read_bytes()
    return run


def told(events: Sequence[Event]) -> list[Mapping[str, Any]]:
    """What events tell but for how long things took, that the run was gone on with, and which view was drawn first."""
    known: list[Mapping[str, Any]] = []
    for image, group in groupby((e for e in events if not isinstance(e, Resumed)), lambda e: isinstance(e, ImageAdded)):
        for event in sorted(group, key=lambda e: getattr(e, "image_id", "")) if image else group:
            told = {each.name: getattr(event, each.name) for each in fields(event)}
            known.append({name: value for name, value in told.items() if name not in _TIMES})
    return known


async def resumed_alike(whole: Whole, out: Path, size: int) -> None:
    folder = whole.cut(out, size)
    before = JournalReader(folder)
    vendor = Vendor()
    ended = await whole.go_on(out, vendor)
    assert isinstance(ended, Finished)
    after = JournalReader(folder)
    assert told(after.events) == told(whole.events)
    had = [event.round for event in before.events if isinstance(event, BackboneReply)]
    assert vendor.asked == list(range(len(had), len(REPLIES))) or not vendor.asked
    for turn, messages in vendor.seen.items():
        assert messages == whole.vendor.seen[turn]
    answered = {event.call for event in before.events if event.kind == "tool_returned"}
    asked_again = [event for event in after.events if isinstance(event, ToolCalled)]
    assert {event.call for event in asked_again} >= answered
    assert len(asked_again) == len({event.call for event in asked_again})


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(share=st.floats(0, 1))
async def test_a_journal_cut_at_any_byte_goes_on_to_the_same_end(whole: Whole, tmp_path: Path, share: float) -> None:
    await resumed_alike(whole, tmp_path / "out", round(share * len(whole.journal)))


def position(whole: Whole, text: str) -> int:
    """Where the line ends that holds a text."""
    return whole.journal.index(b"\n", whole.journal.index(text.encode())) + 1


async def test_a_run_that_is_killed_again_and_again_ends_alike(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = whole.cut(out, position(whole, '"kind":"tool_returned"'))
    path = folder / FILE_NAME
    for kept in (0.3, 0.5, 0.7, 0.8, 0.9):
        vendor = Vendor()
        await whole.go_on(out, vendor)
        told_once = told(JournalReader(folder).events)
        assert told_once == told(whole.events)
        data = path.read_bytes()
        path.write_bytes(data[: round(kept * len(data))])
    await whole.go_on(out, Vendor())
    assert told(JournalReader(folder).events) == told(whole.events)


async def test_code_that_goes_another_way_is_told_of(whole: Whole, tmp_path: Path, monkeypatch: Any) -> None:
    replies = (
        code("import time\nprompt = f'a red circle {time.time_ns()}'\nimages = tools.text2image(prompt)"),
        code("print(len(images))"),
        REPLIES[-1],
    )
    monkeypatch.setattr(f"{__name__}.REPLIES", replies)
    out = tmp_path / "out"
    folder = unit_folder(out, "vendor", UNIT)
    await whole.go_on(out, Vendor())
    data = (folder / FILE_NAME).read_bytes()
    second = data.index(b'"kind":"reply"', data.index(b'"kind":"reply"') + 1)
    (folder / FILE_NAME).write_bytes(data[: data.index(b"\n", second) + 1])
    ended = await whole.go_on(out, Vendor())
    assert isinstance(ended, Finished)
    results = [event for event in JournalReader(folder).events if isinstance(event, UserMessage)][-1]
    text = "".join(part.text for part in results.parts if isinstance(part, TextPart))
    assert "block 1 and those after it may have left other values" in text
    assert text.endswith("1")


@pytest.mark.parametrize(("first", "second"), [(1, 4), (4, 1)])
async def test_a_cut_block_that_draws_another_number_of_pictures_mixes_none(
    whole: Whole, tmp_path: Path, monkeypatch: Any, first: int, second: int
) -> None:
    block = f"""\
import time
n = {first} if time.time() < {{until}} else {second}
red = tools.text2image(["a red circle"] * n)
blue = tools.text2image(["a blue square"])
tools.display(*red, *blue)
print(len(red))"""
    until = time.time() + 1000
    monkeypatch.setattr(f"{__name__}.REPLIES", (code(block.format(until=until)), REPLIES[-1]))
    out = tmp_path / "out"
    folder = unit_folder(out, "vendor", UNIT)
    await whole.go_on(out, Vendor())
    lines = (folder / FILE_NAME).read_bytes().splitlines(keepends=True)
    cut = [number for number, line in enumerate(lines) if b'"kind":"tool_returned"' in line][1]
    text = b"".join(lines[: cut + 1])
    # The same code, after the time at which it goes another way.
    events = [decode_line(line) for line in text.splitlines(keepends=True)]
    changed = code(block.format(until=0))
    for number, event in enumerate(events):
        if isinstance(event, BackboneReply):
            events[number] = replace(event, text=changed)
        elif isinstance(event, BlockStarted):
            events[number] = replace(event, code=changed.split("```python\n")[1].split("```")[0])
    (folder / FILE_NAME).write_bytes(b"".join(map(encode_line, events)))
    ended = await whole.go_on(out, Vendor())
    assert isinstance(ended, Finished)
    images = [event for event in JournalReader(folder).events if isinstance(event, ImageAdded)]
    assert len({image.image_id for image in images}) == len(images) == second + 1
    assert [image.source["prompt"] for image in images] == ["a red circle"] * second + ["a blue square"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 5}, "the seed was '0' and is '5'"),
    ],
)
async def test_another_run_in_the_folder_is_refused(
    whole: Whole, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    out = tmp_path / "out"
    folder = whole.cut(out, len(whole.journal) // 2)
    before = (folder / FILE_NAME).read_bytes()
    with pytest.raises(JournalError, match=said):
        await investigate_unit(UNIT, replace(whole.lab, backbone=Vendor()), replace(whole.settings(out), **changes))
    assert JournalReader(folder).whole_bytes <= len(before)


async def test_two_agents_whose_names_make_one_folder_do_not_mix(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    whole.cut(out, len(whole.journal) // 2).parents[2].rename(out / "ven-dor")
    named = replace(whole.settings(out), agent="ven:dor")
    with pytest.raises(JournalError, match=r"the agent was 'vendor' and is 'ven:dor'"):
        await investigate_unit(UNIT, replace(whole.lab, backbone=Vendor()), named)


async def test_a_finding_of_another_unit_is_not_taken(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = UnitName("scene-neurons", "or", 2)
    whole.cut(out, len(whole.journal)).rename(unit_folder(out, "vendor", other))
    with pytest.raises(JournalError, match="the unit was"):
        await whole.go_on(out, Vendor(), other)


async def test_pictures_that_a_power_cut_has_emptied_are_written_again(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = whole.cut(out, position(whole, '"kind":"reply"'))
    for picture in (folder / IMAGES).iterdir():
        picture.write_bytes(b"")
    await whole.go_on(out, Vendor())
    reader = JournalReader(folder)
    for event in reader.events:
        if isinstance(event, ImageAdded) and event.sha256:
            reader.picture(event.sha256, event.media_type)


async def test_a_journal_of_another_unit_is_refused(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = whole.cut(out, len(whole.journal) // 2)
    other = UnitName("scene-neurons", "or", 2)
    folder.rename(unit_folder(out, "vendor", other))
    with pytest.raises(JournalError, match=r"the unit was 'scene-neurons or:1' and is 'scene-neurons or:2'"):
        await whole.go_on(out, Vendor(), other)


async def test_a_picture_that_is_missing_is_named(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = whole.cut(out, len(whole.journal) // 2)
    for picture in (folder / IMAGES).iterdir():
        picture.write_bytes(b"altered")
    with pytest.raises(JournalError, match="is not what was written there"):
        await whole.go_on(out, Vendor())


async def test_what_an_earlier_version_wrote_goes_on(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = whole.cut(out, len(whole.journal) // 2)
    path = folder / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b'{"format":2,', b'{"format":1,'))
    await whole.go_on(out, Vendor())
    assert told(JournalReader(folder).events) == told(whole.events)


async def test_a_sandbox_that_is_killed_in_a_block_is_begun_again_and_the_run_ends_alike(
    whole: Whole, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill(event: Event) -> None:
        """When the second round calls a tool, end the process that holds all sandbox sessions."""
        if isinstance(event, ToolCalled) and event.block == 2 and not killed:
            process = whole.lab.host._tier._process  # type: ignore[union-attr]
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

    out = tmp_path / "out"
    vendor = Vendor()
    ended = await investigate_unit(UNIT, replace(whole.lab, backbone=vendor), whole.settings(out), kill)
    assert killed
    assert isinstance(ended, Finished)
    events = JournalReader(unit_folder(out, "vendor", UNIT)).events
    assert any(isinstance(event, Resumed) for event in events)
    assert told(events) == told(whole.events)
    assert vendor.asked == list(range(len(REPLIES)))
