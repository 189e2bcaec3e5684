"""`investigate` as a person's Python calls it: over real servers and jails, with a vendor on loopback."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from tests.unit.orchestrator.agents.loopback import Answer, LoopbackVendor, loopback

from maia.orchestrator import (
    Addresses,
    BackboneKeys,
    Finding,
    SandboxSettings,
    Silent,
    Toolbox,
    UnitName,
    image_list,
    investigate,
    investigate_sync,
    load_task,
    read_task_file,
)
from maia.orchestrator.answers import Labels, Words
from maia.orchestrator.clients import SERVER_NAMES
from maia.orchestrator.errors import MissingKeyError, UnknownAgentError
from maia.orchestrator.events import Event, Finished, RunStarted, Stopped, ToolCalled, UserMessage
from maia.orchestrator.journal import FILE_NAME, JournalReader, JournalWriter
from maia.sandbox import ImageRef, Limits
from maia.wire.errors import InvalidRequestError, NotFoundError, OutOfRangeError, PreconditionError, UnavailableError

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN_TASK = Path(__file__).parents[3] / "examples" / "own_task.toml"
MEASURE = '```python\nprint(system.call_neuron(tools.text2image(["a red circle"]))[0])\n```'
CONCLUSION = "[DESCRIPTION]: It likes circles.\n[LABEL 1]: circle\n[LABEL 2]: disc"
REPLIES = (MEASURE, CONCLUSION)


@dataclass
class Desk:
    """Where a person sits: servers, a sandbox, a vendor, and a folder for results."""

    addresses: Addresses
    vendor: LoopbackVendor
    folder: Path
    cache: Path

    def will_say(self, *replies: str) -> None:
        self.vendor.answers = [self._answer(reply) for reply in replies]
        self.vendor.requests.clear()

    @staticmethod
    def _answer(text: str) -> Answer:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        about = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        return Answer.of({**about, "choices": [choice], "usage": usage})

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "agent": "compatible:m",
            "base_url": self.vendor.url,
            "keys": BackboneKeys(),
            "out": self.folder,
            "addresses": self.addresses,
            "sandbox": SandboxSettings(self.cache),
            "jobs": 1,
        }

    async def investigate(self, units: dict[str, Iterable[int]], **settings: Any) -> list[Finding]:
        return await investigate("scene-neurons", units, **{**self.settings, **settings})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def vendor() -> AsyncIterator[LoopbackVendor]:
    async with loopback() as vendor:
        yield vendor


@pytest.fixture
def desk(
    addresses: Addresses,
    vendor: LoopbackVendor,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    desk = Desk(addresses, vendor, tmp_path / "results", tmp_path_factory.getbasetemp() / "cache")
    desk.will_say(*REPLIES)
    return desk


def events_of(finding: Finding) -> tuple[Event, ...]:
    return JournalReader(finding.result.folder).events


async def test_findings_come_in_the_order_of_the_units_each_once(desk: Desk) -> None:
    desk.will_say(*REPLIES, *REPLIES)
    indices = np.array([3, 0, 3])
    first, second = await desk.investigate({"mono": indices})
    assert [first.unit, second.unit] == [UnitName("scene-neurons", "mono", index) for index in (3, 0)]
    assert (first.status, first.answer) == ("concluded", Labels("It likes circles.", ("circle", "disc")))
    assert (first.labels, first.usage["input"]) == (("circle", "disc"), 200)
    assert first.page == desk.folder / "compatible-m" / "scene-neurons" / "mono" / "3" / "experiment.html"
    assert first.page.exists()
    assert "circle; disc" in first._repr_html_()
    index = json.loads((desk.folder / "index.json").read_text())
    assert "mono" in json.dumps(index)
    assert "circle" in (desk.folder / "index.html").read_text()


async def test_the_sandbox_is_as_strict_as_is_asked(desk: Desk) -> None:
    desk.will_say("```python\nimport os\nprint('free', os.name)\nwhile True: pass\n```", CONCLUSION)
    (finding,) = await desk.investigate({"mono": [5]}, policy="off", limits=Limits(wall_s=1.0))
    journal = (finding.result.folder / FILE_NAME).read_text()
    assert "free posix" in journal
    assert '"status":"wall_clock"' in journal


async def test_without_await_it_is_the_same_also_beside_a_running_event_loop(desk: Desk) -> None:
    call = partial(investigate_sync, "scene-neurons", {"mono": [1]}, **desk.settings)
    (finding,) = await asyncio.to_thread(call)
    assert finding.labels == ("circle", "disc")

    async def cell() -> list[Finding]:
        return investigate_sync("scene-neurons", {"mono": [2]}, **desk.settings)

    desk.will_say(*REPLIES)
    (finding,) = await asyncio.to_thread(asyncio.run, cell())
    assert (finding.unit.index, finding.labels) == (2, ("circle", "disc"))
    with pytest.raises(NotFoundError, match="no-such"):
        await asyncio.to_thread(partial(investigate_sync, "no-such", {"mono": [2]}, **desk.settings))
    assert inspect.signature(investigate_sync).parameters == inspect.signature(investigate).parameters


async def test_ctrl_c_in_a_notebook_ends_the_units_and_the_journal_says_so(desk: Desk) -> None:
    begin, end = await asyncio.to_thread(_interrupted, desk)
    assert (begin, end) == ("begun\n", "interrupted\n")
    (folder,) = [path.parent for path in desk.folder.rglob(FILE_NAME)]
    last = JournalReader(folder).events[-1]
    assert isinstance(last, Stopped)
    assert last.why == "interrupted"
    desk.will_say(*REPLIES)
    (finding,) = await desk.investigate({"mono": [0]})
    assert finding.status == "concluded"


def _interrupted(desk: Desk) -> tuple[str, str]:
    """Interrupt a notebook's cell while its agent's code is running; return what it prints before and after."""
    desk.will_say("```python\nprint(sum(range(10**8)))\n```")
    program = f"""
import asyncio, sys
from pathlib import Path
from maia.orchestrator import *

class Begun(Silent):
    def unit_event(self, unit, event):
        if event.kind == "block_started":
            print("begun", flush=True)

async def cell():
    investigate_sync("scene-neurons", {{"mono": [0]}}, agent="compatible:m", base_url={desk.vendor.url!r},
        out={str(desk.folder)!r}, sandbox=SandboxSettings(Path({str(desk.cache)!r})), listener=Begun())

try:
    asyncio.new_event_loop().run_until_complete(cell())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    where = {f"MAIA_{name.upper()}_ADDRESS": getattr(desk.addresses, name) for name in SERVER_NAMES}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], env={**os.environ, **where}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        begin = process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        end, _ = process.communicate(timeout=60)
    return begin, end


@pytest.mark.parametrize(
    ("model", "units", "error", "said"),
    [
        ("resnet9", {"mono": [0]}, NotFoundError, "resnet9.*scene-neurons"),
        ("scene-neurons", {"layer9": [0]}, OutOfRangeError, "scene-neurons has no layer 'layer9'; valid: mono, "),
        ("scene-neurons", {"mono": [0, 9000]}, OutOfRangeError, r"scene-neurons mono has units 0 to \d+, not 9000"),
        ("scene-neurons", {"mono": [-1]}, OutOfRangeError, r"units 0 to \d+, not -1"),
        ("scene-neurons", {"mono": []}, InvalidRequestError, "no unit is named"),
        ("scene-neurons", {"mono": ["3"]}, TypeError, "integer"),
    ],
)
async def test_units_that_are_not_there_are_refused_before_anything_begins(
    desk: Desk, model: str, units: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await investigate(model, units, **desk.settings)
    assert desk.vendor.requests == []
    assert not desk.folder.exists()


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"agent": "claude"}, UnknownAgentError, "there is no agent 'claude'"),
        ({"agent": "claude-x"}, MissingKeyError, "ANTHROPIC_API_KEY"),
        ({"task": "poem"}, NotFoundError, "there is no task 'poem'"),
        ({"task": "question"}, PreconditionError, "question"),
        ({"task": "class_bias"}, InvalidRequestError, "asks about outputs of a classifier"),
        ({"budget": "euros=3"}, InvalidRequestError, "there is no budget 'euros'"),
        ({"budget": "usd=2"}, InvalidRequestError, "budget 'usd=2' needs the price of compatible:m"),
        ({"batch_budget": "usd=2"}, InvalidRequestError, "batch_budget 'usd=2' needs the price of compatible:m"),
        ({"tools": {"mine": print}}, ValueError, "'mine' cannot be the name of a tool"),
        ({"jobs": 0}, ValueError, "0 jobs are too few"),
        ({"addresses": Addresses(*["127.0.0.1:9"] * 5)}, UnavailableError, "maia up"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_settings_that_cannot_be_are_refused(
    desk: Desk, settings: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await desk.investigate({"mono": [0]}, **settings)
    assert desk.vendor.requests == []
    assert not desk.folder.exists()


async def test_an_own_tool_is_told_of_and_called_from_sandboxed_code(desk: Desk) -> None:
    asked: list[int] = []

    async def redness(toolbox: Toolbox, images: list[ImageRef]) -> list[float]:
        """Say how red images are, from 0 to 1."""
        refs = await image_list(images, "images", toolbox.study.images)
        asked.append(len(refs))
        return [0.25] * len(refs)

    code = 'values = tools.redness(tools.text2image(["a red circle", "a blue square"]))\nprint("redness", sum(values))'
    desk.will_say(f"```python\n{code}\n```", CONCLUSION)
    (finding,) = await desk.investigate({"mono": [0]}, tools={"tools.redness": redness})
    assert asked == [2]
    started, *_ = events = events_of(finding)
    assert isinstance(started, RunStarted)
    assert "tools.redness(images: list[Image]) -> list[float]" in started.system_prompt
    assert [event.tool for event in events if isinstance(event, ToolCalled)] == ["tools.text2image", "tools.redness"]
    shown = json.dumps(desk.vendor.requests[-1].json["messages"][-1])
    assert "redness 0.5" in shown


async def test_finished_units_are_returned_without_asking_anybody(desk: Desk) -> None:
    (before,) = await desk.investigate({"mono": [0]})
    desk.will_say()
    (after,) = await desk.investigate({"mono": [0]}, batch_budget="tokens=1")
    assert after.result == before.result
    assert desk.vendor.requests == []


async def test_an_unfinished_unit_says_why_and_goes_on_where_it_was(desk: Desk) -> None:
    desk.vendor.answers = [desk._answer(MEASURE)]
    desk.vendor.will_answer(401, {"error": {"message": "no"}})
    (paused,) = await desk.investigate({"mono": [0]})
    assert (paused.status, paused.answer) == ("invalid", None)
    assert paused.reason.startswith("BACKBONE_KEY_REFUSED: ")
    assert paused.page.exists()

    (other,) = await desk.investigate({"mono": [0]}, seed=5)
    assert "the seed was '0' and is '5'" in other.reason  # not what the earlier process has ended with

    desk.will_say(CONCLUSION)
    (finding,) = await desk.investigate({"mono": [0]})
    assert (finding.status, finding.labels) == ("concluded", ("circle", "disc"))
    assert len(desk.vendor.requests) == 1
    assert "results" in [event.why for event in events_of(finding) if isinstance(event, UserMessage)]


async def test_a_unit_that_another_run_is_at_is_left_to_it(desk: Desk) -> None:
    folder = desk.folder / "compatible-m" / "scene-neurons" / "mono" / "0"
    with JournalWriter(folder):
        left, finding = await desk.investigate({"mono": [0, 1]})
    assert (left.status, left.result.folder) == ("unfinished", folder)
    assert "another" in left.reason
    assert finding.status == "concluded"


async def test_budgets_hold_for_a_unit_and_for_all_of_them(desk: Desk) -> None:
    desk.will_say(MEASURE, CONCLUSION)
    first, second = await desk.investigate({"mono": [0, 1]}, budget="tokens=150", batch_budget="tokens=200")
    assert first.status == "concluded"
    assert (second.status, second.result.folder.exists()) == ("unfinished", False)
    assert second.reason == "the batch has used 220 tokens of 200 tokens"
    assert len(desk.vendor.requests) == 2


async def test_a_listener_hears_of_each_unit(desk: Desk) -> None:
    @dataclass
    class Heard(Silent):
        said: list[object] = field(default_factory=list)

        def unit_started(self, unit: UnitName) -> None:
            self.said.append(unit.index)

        def unit_event(self, unit: UnitName, event: Event) -> None:
            self.said.append(event.kind)

        async def unit_ended(self, unit: UnitName, ended: Finished | Stopped) -> None:
            self.said.append(type(ended))

    heard = Heard()
    await desk.investigate({"mono": [4]}, listener=heard)
    assert heard.said[:2] == [4, "run_started"]
    assert heard.said[-2:] == ["finished", Finished]


@pytest.mark.parametrize(
    ("task", "folder"),
    [
        (lambda: read_task_file(OWN_TASK), "own_task"),
        (lambda: load_task("question", question="Does it respond to circles?"), "question"),
    ],
)
async def test_a_question_of_ones_own(desk: Desk, task: Callable[[], Any], folder: str) -> None:
    desk.will_say(MEASURE, "[ANSWER]: To shape.")
    (finding,) = await desk.investigate({"mono": [0]}, task=task())
    assert finding.answer == Words("To shape.")
    assert finding.description == "To shape."
    assert finding.page.relative_to(desk.folder).parts[0] == folder


async def test_the_scripted_agent_needs_nothing_but_servers(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SERVER_NAMES:
        address = getattr(desk.addresses, name)
        monkeypatch.setenv(f"MAIA_{name.upper()}_ADDRESS", address)
    (finding,) = await investigate(
        "scene-neurons", {"mono": [23]}, out=str(desk.folder), sandbox=SandboxSettings(desk.cache)
    )
    assert finding.labels == ("red circle",)
