"""One unit from start to end: a real jail, the scene world's real servers, and replies prepared beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from maia.orchestrator.agents.replay import ReplayBackbone
from maia.orchestrator.clients import SubjectClient, SubjectInfo, Terms
from maia.orchestrator.conversation import Message, Picture, Reply, Text
from maia.orchestrator.errors import BackboneError, JournalError
from maia.orchestrator.events import (
    BackboneReply,
    BlockEnded,
    BlockOutput,
    Displayed,
    Event,
    Finished,
    PicturePart,
    RunStarted,
    Stopped,
    TextPart,
    ToolCalled,
    ToolReturned,
    UnitName,
    UserMessage,
)
from maia.orchestrator.journal import FILE_NAME, JournalReader
from maia.orchestrator.run import RunSettings, investigate_unit, unit_folder
from maia.orchestrator.toolbox.study import NO_THRESHOLD
from maia.orchestrator.wiring import Lab
from maia.sandbox import Host, Limits
from maia.wire.errors import DeadlineExceededError, MaiaError, UnavailableError

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNIT = UnitName("scene-neurons", "mono", 0)
CONCLUSION = "[DESCRIPTION]: It likes circles.\n[LABEL 1]: circle\n"
MEASURE = """\
images = tools.text2image(["a red circle", "a blue square"])
activations, views = system.call_neuron(images)
print("measured", len(activations), end="")
tools.display("first", views[0])
print("between")
tools.display(views[1])
print("after")
"""


def code(*blocks: str) -> str:
    return "\n".join(f"```python\n{block}\n```" for block in blocks)


@dataclass
class Prepared:
    """Says what was prepared, and keeps what it was shown. An exception among the replies is raised."""

    replies: Sequence[str | Exception]
    seen: list[list[Message]] = field(default_factory=list)
    name: str = "prepared"

    async def reply(self, system: str, messages: Sequence[Message]) -> Reply:
        self.seen.append(list(messages))
        reply = self.replies[len(self.seen) - 1]
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply, "prepared", stop_reason="end_turn")

    async def aclose(self) -> None:
        pass


@dataclass
class World:
    """The servers and the jail that all tests of this file share."""

    lab: Lab
    host: Host

    async def run(
        self, out: Path, *replies: str | Exception, max_rounds: int = 5, limits: Limits | None = None
    ) -> tuple[Finished | Stopped, list[Event], Prepared]:
        backbone = Prepared(replies)
        settings = RunSettings("prepared", out, max_rounds=max_rounds, limits=limits or Limits(), policy="off")
        heard: list[Event] = []
        ended = await investigate_unit(UNIT, Lab(self.lab.servers, self.host, backbone), settings, heard.append)
        events = whole(unit_folder(out, "prepared", UNIT))
        assert list(events) == heard
        assert type(events[-1]) is type(ended)
        return ended, heard, backbone


def whole(folder: Path) -> tuple[Event, ...]:
    reader = JournalReader(folder)
    assert reader.whole_bytes == (folder / FILE_NAME).stat().st_size
    pictures = [part for event in reader.events if isinstance(event, UserMessage) for part in event.parts]
    for part in pictures:
        if isinstance(part, PicturePart):
            reader.picture(part.sha256, part.media_type)
    return reader.events


def of(events: Sequence[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(lab: Lab) -> World:
    assert isinstance(lab.host, Host)
    return World(lab, lab.host)


async def test_printed_and_displayed_things_reach_the_backbone_in_order(world: World, tmp_path: Path) -> None:
    ended, events, backbone = await world.run(tmp_path, code(MEASURE), CONCLUSION)
    assert isinstance(ended, Finished)
    assert (ended.how, ended.labels, ended.rounds, ended.tool_calls) == ("concluded", ["circle"], 2, 4)
    results = backbone.seen[1][-1].parts
    assert [part.text if isinstance(part, Text) else type(part) for part in results] == [
        f"Note: {NO_THRESHOLD}\nmeasured 2\nfirst",
        Picture,
        "between",
        Picture,
        "after",
    ]
    kinds = [event.text if isinstance(event, BlockOutput) else event.kind for event in events if event.kind != "image"]
    call = ["tool_called", "tool_returned"]
    assert kinds == [
        *("run_started", "user_message", "reply", "block_started"),
        *(*call, *call, "displayed", "measured 2", *call, "displayed", "between\n", *call, "displayed", "after\n"),
        *("block_ended", "user_message", "reply", "finished"),
    ]
    (started,) = of(events, RunStarted)
    assert (started.sandbox["tier"], started.sandbox["policy"]) == (world.host.tier, "off")
    assert {"name", "enforced", "detail"} == set(started.sandbox["features"][0])
    message = of(events, UserMessage)[-1]
    assert message.why == "results"
    assert [type(part) for part in message.parts] == [TextPart, PicturePart, TextPart, PicturePart, TextPart]
    assert all(part.image_id for part in message.parts if isinstance(part, PicturePart))
    assert of(events, Displayed)[1].parts[1] == message.parts[1]


async def test_awkward_replies_are_journaled_with_the_reason_and_the_run_goes_on(world: World, tmp_path: Path) -> None:
    replies = (
        "",
        "I wonder.",
        code("print("),
        "```python\nprint(1)",
        code("print(1)", "1 / 0", "print(3)") + "\n" + CONCLUSION,
        "[LABEL 1]: circle",
        CONCLUSION,
    )
    ended, events, backbone = await world.run(tmp_path, *replies, max_rounds=20)
    assert isinstance(ended, Finished)
    assert ended.rounds == len(replies)
    assert [event.why for event in of(events, UserMessage)] == [
        *("task", "empty_reply", "no_code", "results", "cut_block", "results", "format")
    ]
    assert "SyntaxError" in backbone.seen[3][-1].text
    mixed = backbone.seen[5][-1].text
    assert mixed.index("--- Block 1 of 3 ---") < mixed.index("--- Block 2 of 3 ---") < mixed.index("ZeroDivisionError")
    assert "block 2 failed" in mixed
    assert "conclusion was not\ncounted" in mixed
    assert [event.status for event in of(events, BlockEnded)] == ["exception", "ok", "exception"]


async def test_a_killed_session_and_a_broken_protocol_are_told_and_a_new_session_opens(
    world: World, tmp_path: Path
) -> None:
    replies = (
        code("x = 1\nimport os\nprint('bye')\nos._exit(1)"),
        code("print('x' in globals())\nimport os, time\nos.write(1000, bytes(4))\ntime.sleep(60)"),
        code("while True: pass"),
        code("print(system.layer, len(tools.text2image('a circle')))"),
        CONCLUSION,
    )
    ended, events, backbone = await world.run(tmp_path, *replies, limits=Limits(wall_s=0.5))
    assert isinstance(ended, Finished)
    assert ended.how == "concluded"
    assert [event.status for event in of(events, BlockEnded)] == ["killed", "killed", "wall_clock", "ok"]
    first, second = [event.state for event in of(events, BlockEnded)][:2]
    assert (first in ("lost", "restored"), second) == (True, "lost")
    assert backbone.seen[1][-1].text.startswith("bye\n")
    assert backbone.seen[2][-1].text.startswith("False\n")
    assert "All variables are lost" in backbone.seen[2][-1].text
    assert backbone.seen[4][-1].text == "mono 1"


async def test_a_backbone_that_fails_stops_the_unit_and_nothing_else(world: World, tmp_path: Path) -> None:
    failure = BackboneError("the model is overloaded", transient=True, reason="BACKBONE_OVERLOADED")
    ended, _, _ = await world.run(tmp_path / "one", code("print(1)"), failure)
    assert isinstance(ended, Stopped)
    assert (ended.why, ended.reason, ended.message) == ("paused", "BACKBONE_OVERLOADED", "the model is overloaded")
    ended, _, _ = await world.run(tmp_path / "two", ValueError("a fault of ours"))
    assert isinstance(ended, Stopped)
    assert (ended.why, ended.reason, ended.message) == ("invalid", "INTERNAL", "ValueError: a fault of ours")
    ended, _, _ = await world.run(tmp_path / "three", CONCLUSION)
    assert isinstance(ended, Finished)


async def test_a_server_that_dies_in_a_block_stops_the_unit_and_is_never_shown_to_the_backbone(
    world: World, tmp_path: Path
) -> None:
    missing = UnitName(UNIT.model, "mono", 10_000)  # the subject server refuses every measurement
    backbone = Prepared([code("print('asking')\nsystem.call_neuron(tools.text2image('a circle'))\nprint('no')")])
    ended = await investigate_unit(
        missing, Lab(world.lab.servers, world.host, backbone), RunSettings("prepared", tmp_path)
    )
    assert isinstance(ended, Stopped)
    assert ended.why == "invalid"
    assert len(backbone.seen) == 1
    events = whole(unit_folder(tmp_path, "prepared", missing))
    assert [event.text for event in of(events, BlockOutput)] == ["asking\n"]
    assert len(of(events, ToolCalled)) == 2
    assert of(events, ToolReturned)[-1].call == 1
    assert events[-1] == ended or isinstance(events[-1], Stopped)


@pytest.mark.parametrize(
    "doing", ["import time\ntime.sleep(30)", "tools.text2image(['a circle'] * 200)\nwhile 1: pass"]
)
async def test_an_interruption_is_journaled_and_ends_the_session(world: World, tmp_path: Path, doing: str) -> None:
    started = asyncio.Event()

    def hear(event: Event) -> None:
        if isinstance(event, BlockOutput | ToolCalled):
            started.set()

    backbone = Prepared([code(f"print('begun')\nsystem.layer\ntools.display('x')\n{doing}")])
    settings = RunSettings("prepared", tmp_path, policy="off")
    task = asyncio.create_task(investigate_unit(UNIT, Lab(world.lab.servers, world.host, backbone), settings, hear))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    events = whole(unit_folder(tmp_path, "prepared", UNIT))
    assert isinstance(events[-1], Stopped)
    assert events[-1].why == "interrupted"
    assert [event.text for event in of(events, BlockOutput)] == ["begun\n"]
    assert world.host._sessions == set()


async def test_a_finished_run_is_not_run_again(world: World, tmp_path: Path) -> None:
    ended, _, _ = await world.run(tmp_path, CONCLUSION)
    before = (unit_folder(tmp_path, "prepared", UNIT) / FILE_NAME).read_bytes()
    backbone = Prepared([])
    again = await investigate_unit(
        UNIT, Lab(world.lab.servers, world.host, backbone), RunSettings("prepared", tmp_path, policy="off")
    )
    assert isinstance(again, Finished)
    assert isinstance(ended, Finished)
    assert replace(again, at=0.0) == replace(ended, at=0.0)
    assert (unit_folder(tmp_path, "prepared", UNIT) / FILE_NAME).read_bytes() == before


async def test_two_runs_at_once_on_one_output_do_not_mix(world: World, tmp_path: Path) -> None:
    settings = RunSettings("prepared", tmp_path, policy="off")
    labs = [Lab(world.lab.servers, world.host, Prepared([code("print(1)"), CONCLUSION])) for _ in range(2)]
    ended = await asyncio.gather(*(investigate_unit(UNIT, lab, settings) for lab in labs), return_exceptions=True)
    assert sorted(type(one).__name__ for one in ended) == ["Finished", "JournalError"]
    assert len(of(whole(unit_folder(tmp_path, "prepared", UNIT)), RunStarted)) == 1


async def test_an_output_that_cannot_be_written_is_a_clear_error(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="use another --out"):
        await world.run(tmp_path / "file", CONCLUSION)


async def test_a_finished_journal_replays_to_the_same_calls_and_labels(world: World, tmp_path: Path) -> None:
    edits = "pictures, _ = tools.edit_images(images[:1], ['make the circle blue'])\nprint(system.call_neuron(pictures))"
    random_code = "import random\nprint(random.random(), np.random.rand(), hash('a'), tools.summarize_images(images))"
    replies = (code(MEASURE), code(edits, random_code), "", CONCLUSION)
    first, events, _ = await world.run(tmp_path / "first", *replies)
    folder = unit_folder(tmp_path / "first", "prepared", UNIT)
    name = f"replay:{folder}"
    settings = RunSettings(name, tmp_path / "again", max_rounds=5, policy="off")
    lab = Lab(world.lab.servers, world.host, ReplayBackbone.open(name, folder))
    again = await investigate_unit(UNIT, lab, settings)
    replayed = whole(unit_folder(tmp_path / "again", name, UNIT))
    assert isinstance(first, Finished)
    assert isinstance(again, Finished)
    assert (again.labels, again.description, again.rounds) == (first.labels, first.description, first.rounds)
    for kind, told in (
        (ToolCalled, lambda event: (event.tool, event.arguments, event.digest)),
        (ToolReturned, lambda event: (event.value, event.result)),
        (UserMessage, lambda event: event.parts),
        (BackboneReply, lambda event: event.text),
    ):
        assert list(map(told, of(replayed, kind))) == list(map(told, of(events, kind)))


@dataclass
class Distant:
    """A subject server that answers once the link to it has failed in some ways."""

    real: SubjectClient
    failures: list[MaiaError]

    async def info(self, subject: str, terms: Terms) -> SubjectInfo:
        if self.failures:
            raise self.failures.pop()
        return await self.real.info(subject, terms)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


async def test_a_unit_that_begins_while_a_server_is_out_of_reach_waits_for_it(world: World, tmp_path: Path) -> None:
    failures: list[MaiaError] = [UnavailableError("no route"), DeadlineExceededError("no answer")]
    subject: Any = Distant(world.lab.servers.subject, failures)
    lab = Lab(replace(world.lab.servers, subject=subject), world.host, Prepared([code("print(1)"), CONCLUSION]))
    ended = await investigate_unit(UNIT, lab, RunSettings("prepared", tmp_path))
    assert isinstance(ended, Finished)
    assert not failures
