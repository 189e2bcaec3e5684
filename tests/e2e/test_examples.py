"""What is in examples/: scripts, the vendors' own SDKs in them speaking to a vendor on loopback, and a task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from maia.orchestrator.events import RunStarted
from maia.orchestrator.journal import JournalReader

if TYPE_CHECKING:
    from tests.e2e.conftest import Maia

EXAMPLES = Path(__file__).parents[2] / "examples"
CODE = "best = max(search_catalogue(max_price=60), key=lumens)\nprint(best, lumens(best))"
WRONG = "lumens('Dynamo')"


@dataclass
class Vendor:
    """Gives prepared answers, and keeps what it was asked."""

    answers: list[dict[str, Any]]
    url: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body))
        return self.answers[len(self.asked) - 1]


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    kept = Vendor([])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            data = json.dumps(kept.answer(self.path, body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


def run(name: str, *arguments: str, **environment: str) -> str:
    """Run an example to its end and return what it printed."""
    ours = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(
        command, env={**ours, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_basic_one_shows_results_a_limit_and_variables_that_stay() -> None:
    shown = run("sandbox_basic.py")
    assert "Astra 800" in shown
    assert "there is no lamp 'Dynamo'" in shown
    assert "[wall_clock, variables kept]" in shown
    assert "still here: Astra" in shown
    assert "root:" not in shown


def test_an_agent_with_anthropics_sdk(vendor: Vendor) -> None:
    def message(*content: dict[str, Any]) -> dict[str, Any]:
        reason = "tool_use" if content[-1]["type"] == "tool_use" else "end_turn"
        usage = {"input_tokens": 1, "output_tokens": 1}
        about = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
        return {**about, "content": list(content), "stop_reason": reason, "usage": usage}

    def use(number: int, code: str) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{number}", "name": "python", "input": {"code": code}}

    vendor.answers = [
        message({"type": "text", "text": "Let me look."}, use(1, CODE), use(2, WRONG)),
        message({"type": "text", "text": "Astra, with 800 lumens."}),
    ]
    shown = run(
        "sandbox_with_anthropic.py", "Which?", ANTHROPIC_BASE_URL=vendor.url, ANTHROPIC_API_KEY="sk-x", MODEL="m"
    )
    assert shown == "Astra, with 800 lumens.\n"
    (path, first), (_, second) = vendor.asked
    assert path == "/v1/messages"
    assert "search_catalogue(max_price: float) -> list[str]" in first["tools"][0]["description"]
    assert [turn["role"] for turn in second["messages"]] == ["user", "assistant", "user"]
    good, bad = second["messages"][-1]["content"]
    assert (good["tool_use_id"], good["content"], good["is_error"]) == ("toolu_1", "Astra 800\n", False)
    assert (bad["is_error"], "there is no lamp 'Dynamo'" in bad["content"]) == (True, True)


def test_an_agent_with_openais_sdk(vendor: Vendor) -> None:
    def completion(**message: object) -> dict[str, Any]:
        reason = "tool_calls" if "tool_calls" in message else "stop"
        choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": reason}
        return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}

    def call(number: int, code: str) -> dict[str, Any]:
        function = {"name": "python", "arguments": json.dumps({"code": code})}
        return {"id": f"call_{number}", "type": "function", "function": function}

    vendor.answers = [
        completion(tool_calls=[call(1, CODE), call(2, WRONG)]),
        completion(content="Astra, with 800 lumens."),
    ]
    shown = run("sandbox_with_openai.py", "Which?", OPENAI_BASE_URL=vendor.url, OPENAI_API_KEY="sk-x", MODEL="m")
    assert shown == "Astra, with 800 lumens.\n"
    (path, first), (_, second) = vendor.asked
    assert path == "/chat/completions"
    assert "lumens(name: str) -> int" in first["tools"][0]["function"]["description"]
    assert [turn["role"] for turn in second["messages"]] == ["user", "assistant", "tool", "tool"]
    good, bad = second["messages"][-2:]
    assert (good["tool_call_id"], good["content"]) == ("call_1", "Astra 800\n")
    assert "there is no lamp 'Dynamo'" in bad["content"]


def test_a_task_of_ones_own(maia: Maia) -> None:
    ended = maia(
        "run", "--up", "--model", "scene-neurons", "--units", "mono=10", "--task-file", str(EXAMPLES / "own_task.toml")
    )
    assert ended.code == 0, ended.err
    folder = maia.folder / "results" / "own_task" / "scripted" / "scene-neurons" / "mono" / "10"
    started = JournalReader(folder).events[0]
    assert isinstance(started, RunStarted)
    assert "colour, texture, shape, or several of them" in started.system_prompt
    assert json.loads((folder / "result.json").read_text())["answer"]["form"] == "text"
    assert "responds to circle" in (folder / "description.txt").read_text()
