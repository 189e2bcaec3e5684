"""A batch over all servers while a random process is killed every few seconds: it ends as an undisturbed one does."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from maia.orchestrator.events import BackboneReply, BlockEnded, Finished, Resumed, ToolCalled, ToolReturned
from maia.orchestrator.journal import JournalReader

if TYPE_CHECKING:
    from tests.e2e.conftest import Maia

SERVERS: Final = ("subject", "generation", "editing", "exemplars", "description", "sandbox")
UNITS: Final = tuple(range(12))
TOLERANCE: Final = 0.01
"""Of activations, which are rounded to two decimals: what shares a batch changes a float's last bits."""

LATENCY_S: Final = 0.8
BETWEEN_KILLS_S: Final = (2.0, 5.0)
LONGEST_S: Final = 400.0


def code(text: str) -> str:
    return f"```python\n{text}\n```"


PLAN: Final = (
    code(
        """\
import random
prompts = ["a red circle", "a blue square", "a green star", "two yellow triangles"]
images = tools.text2image(prompts)
scores, views = system.call_neuron(images)
print("unit", system.neuron_num, scores, random.random())
tools.display(*views)"""
    ),
    code(
        """\
edited, steps = tools.edit_images(images[:2], ["make the circle blue", "remove the square"])
after, after_views = system.call_neuron(edited)
print(after, steps)
tools.display(after_views[1])"""
    ),
    code("print(tools.describe_images(views[:2], ['first', 'second']))\nprint(tools.summarize_images(images))"),
    code(
        """\
own = np.asarray(images[0].pil()) // 2
more, _ = system.call_neuron([own])
best = max(zip(scores, prompts))
print("best:", best[1], scores + after + more, random.random())"""
    ),
)


@dataclass
class Vendor:
    """Speaks Chat Completions on loopback; its next reply depends on the conversation alone."""

    requests: list[tuple[str, int, float, float]] = field(default_factory=list)
    url: str = ""

    def answer(self, body: dict[str, Any]) -> str:
        messages = [message for message in body["messages"] if message["role"] != "system"]
        turn = sum(message["role"] == "assistant" for message in messages)
        if turn < len(PLAN):
            return PLAN[turn]
        found = re.findall(r"best: ([a-z ]+)", json.dumps(messages[-1]))
        return f"[DESCRIPTION]: It likes {found[-1]}.\n[LABEL 1]: {found[-1]}"

    @contextmanager
    def serving(self) -> Iterator[str]:
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                started = time.time()
                data = self.rfile.read(int(self.headers["content-length"]))
                body = json.loads(data)
                time.sleep(LATENCY_S)
                choice = {"message": {"content": vendor.answer(body)}, "finish_reason": "stop"}
                usage = {"prompt_tokens": len(data) // 4, "completion_tokens": 50}
                answer = json.dumps({"model": body["model"], "choices": [choice], "usage": usage}).encode()
                turn = sum(message["role"] == "assistant" for message in body["messages"])
                conversation = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
                vendor.requests.append((conversation, turn, started, time.time()))
                with suppress(ConnectionError):  # whoever asked has been killed
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            server.server_close()


@dataclass
class Machines:
    """The servers, each a process of its own that can be killed and started again."""

    maia: Maia
    addresses: dict[str, str]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        more = ["--model", "scene-neurons"] if name == "subject" else []
        with (self.maia.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "maia.cli", "serve", name, "--listen", self.addresses[name], *more],
                env=self.maia.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def kill(self, name: str) -> None:
        process = self.processes[name]
        process.kill()
        process.wait()

    def flags(self) -> list[str]:
        return [f"--{name}-address={address}" for name, address in self.addresses.items()]

    def wait_until_serving(self) -> None:
        deadline = time.monotonic() + 60
        for address in self.addresses.values():
            host, _, port = address.rpartition(":")
            while time.monotonic() < deadline:
                with socket.socket() as trial:
                    if trial.connect_ex((host, int(port))) == 0:
                        break
                time.sleep(0.1)


@pytest.fixture
def machines(maia: Maia) -> Iterator[Machines]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in SERVERS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = {name: f"127.0.0.1:{each.getsockname()[1]}" for name, each in zip(SERVERS, sockets, strict=True)}
    started = Machines(maia, addresses)
    for name in SERVERS:
        started.start(name)
    started.wait_until_serving()
    yield started
    for name in SERVERS:
        started.kill(name)


def batch(out: str, url: str) -> list[str]:
    units = ",".join(map(str, UNITS))
    return [
        *("run", "--model", "scene-neurons", "--units", f"mono={units}", "--policy", "off", "--max-rounds", "10"),
        *("--agent", "compatible:chaos", "--base-url", url, "--describer", "server", "--jobs", "3", "--out", out),
    ]


def told(folder: Path) -> list[object]:
    """What a unit came to, in the order of its journal; activations apart."""
    kinds: list[object] = []
    for event in JournalReader(folder).events:
        match event:
            case ToolCalled():
                kinds.append((event.block, event.call, event.tool))
            case BlockEnded():
                kinds.append((event.block, event.status, event.message))
            case BackboneReply():
                kinds.append((event.round, event.text))
            case Finished():
                kinds.append((event.how, event.labels, event.description, event.rounds, event.tool_calls))
    return kinds


def activations(folder: Path) -> list[float]:
    tools = {e.call: e.tool for e in JournalReader(folder).events if isinstance(e, ToolCalled)}
    return [
        value
        for event in JournalReader(folder).events
        if isinstance(event, ToolReturned) and tools[event.call] == "system.call_neuron"
        for value in event.result[0]
    ]


def folders(root: Path) -> Sequence[Path]:
    (model,) = root.glob("*/scene-neurons")
    return [model / "mono" / str(unit) for unit in UNITS]


@pytest.mark.parametrize("seed", [int(os.environ.get("CHAOS_SEED", "1"))])
def test_a_batch_whose_processes_are_killed_ends_as_an_undisturbed_one(
    maia: Maia, machines: Machines, seed: int
) -> None:
    calm, stormy = Vendor(), Vendor()
    with calm.serving() as url:
        ended = maia(*batch("calm", url), *machines.flags())
        assert ended.code == 0, ended.err

    dice = random.Random(seed)
    killed: Counter[str] = Counter()
    killed_at: list[float] = []
    deck: list[str] = []
    until = time.monotonic() + LONGEST_S
    with stormy.serving() as url:
        arguments = [*batch("stormy", url), *machines.flags()]
        code = None
        while code != 0:
            assert time.monotonic() < until, (killed, [p.read_text()[-500:] for p in maia.folder.glob("run.log")])
            with (maia.folder / "run.log").open("ab") as log:
                orchestrator = subprocess.Popen(
                    [sys.executable, "-m", "maia.cli", *arguments],
                    cwd=maia.folder,
                    env=maia.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    process_group=0,
                )
            code = None
            while code is None:
                with_time = dice.uniform(*BETWEEN_KILLS_S)
                try:
                    code = orchestrator.wait(with_time)
                    continue
                except subprocess.TimeoutExpired:
                    pass
                if not deck:
                    deck = dice.sample([*SERVERS, "orchestrator"], len(SERVERS) + 1)
                victim = deck.pop()
                killed[victim] += 1
                if victim == "orchestrator":
                    killed_at.append(time.time())
                    os.killpg(orchestrator.pid, signal.SIGKILL)
                    code = orchestrator.wait()
                else:
                    machines.kill(victim)
                    machines.start(victim)
            log_text = (maia.folder / "run.log").read_text()
            # At its very start a command does not wait for a server that has just begun anew: it names it and ends.
            last = log_text.rstrip().rpartition("\n")[2]
            late = code == 1 and last.startswith("error: ") and any(at in last for at in machines.addresses.values())
            assert late or code in {0, 2, 3, -signal.SIGKILL}, log_text[-3000:]
            machines.wait_until_serving()

    assert sum(killed.values()) >= 5, killed
    resumed = 0
    for mine, other in zip(folders(maia.folder / "stormy"), folders(maia.folder / "calm"), strict=True):
        assert told(mine) == told(other)
        assert activations(mine) == pytest.approx(activations(other), abs=TOLERANCE)
        resumed += any(isinstance(event, Resumed) for event in JournalReader(mine).events)
    assert resumed or not killed["orchestrator"] + killed["sandbox"]

    # A reply that had arrived was not asked for again: what was asked twice was under way when the orchestrator died.
    again = Counter(conversation for conversation, turn, _, _ in stormy.requests if turn)
    for conversation, times in again.items():
        asked = sorted((start, end) for key, _, start, end in stormy.requests if key == conversation)
        for start, end in asked[: times - 1]:
            assert any(start - 2 <= moment <= end + 2 for moment in killed_at), (start, end, killed_at)
