"""What is in examples/: scripts, whose SDKs speak to a vendor on loopback, a notebook and a task."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

from maia.orchestrator.events import RunStarted, ToolCalled, ToolReturned
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


def run(name: str, *arguments: str, folder: Path | None = None, **environment: str) -> str:
    """Run an example to its end and return what it printed."""
    ours = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**ours, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
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


@pytest.fixture
def up(maia: Maia) -> Iterator[dict[str, str]]:
    """The servers of `maia up`, as the variables that name their addresses."""
    names = ("SUBJECT", "GENERATION", "EDITING", "EXEMPLARS", "DESCRIPTION")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        where = {
            f"MAIA_{name}_ADDRESS": f"127.0.0.1:{each.getsockname()[1]}"
            for name, each in zip(names, sockets, strict=True)
        }
    with maia.start("up", "--model", "scene-neurons", **where) as process:
        assert process.stdout is not None
        assert any("Serving until Ctrl-C" in line for line in process.stdout)
        yield where
        process.terminate()
        process.communicate(timeout=60)


def test_the_notebook(maia: Maia, up: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**maia.environment, **up}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(EXAMPLES / "demo.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert not [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
    shutil.copy(EXAMPLES / "own_task.toml", maia.folder)
    # In a kernel of its own, started by the interpreter of the tests; its folder takes the results.
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(maia.folder)}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output for output in outputs if output.get("name") == "stderr"] == []
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert ["red circle" in page for page in pages] == [True, False, True]
    assert "diamond or triangle" in pages[1]
    assert [page.count('<img src="data:image/png;base64,') for page in pages] == [8, 8, 8]
    printed = [
        line.split() for output in outputs if output.get("name") == "stdout" for line in output.text.splitlines()
    ]
    measured = {
        (shape, colour): float(value) for shape, colour, value in (words for words in printed if len(words) == 3)
    }
    assert measured["ellipse", "red"] > 2 * max(measured["ellipse", "blue"], measured["rectangle", "red"])
    assert "responds to" in pages[2]
    assert (maia.folder / "results" / "notebook" / "own_task").is_dir()


def test_a_tool_of_ones_own(maia: Maia, vendor: Vendor, up: dict[str, str]) -> None:
    def completion(text: str) -> dict[str, Any]:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}

    code = (
        "views = [view.source for activation, view in tools.dataset_exemplars(system)]\n"
        'print(tools.mean_colour(tools.text2image(["a red circle on a white background"]) + views))\n'
        'tools.mean_colour("red.png")'
    )
    vendor.answers = [
        completion(f"Which colours?\n```python\n{code}\n```"),
        completion("[DESCRIPTION]: Red circles.\n[LABEL 1]: red circle"),
    ]
    shown = run("own_tool.py", "compatible:m", vendor.url, folder=maia.folder, **maia.environment, **up)
    folder = maia.folder / "results" / "compatible-m" / "scene-neurons" / "mono" / "23"
    assert shown.splitlines()[0] == "scene-neurons mono:23: red circle"
    assert str(Path("results", "compatible-m")) in shown
    events = JournalReader(folder).events
    calls = [event.call for event in events if isinstance(event, ToolCalled) and event.tool == "tools.mean_colour"]
    good, bad = (event for event in events if isinstance(event, ToolReturned) and event.call in calls)
    assert "images must be an image, not the text" in bad.error
    (_, first), (_, second) = vendor.asked
    assert (
        "tools.mean_colour(images: list[Image]) -> list[tuple[float, float, float]]" in first["messages"][0]["content"]
    )
    told = json.dumps(second["messages"][-1]["content"])
    assert "images must be an image, not the text" in told
    colours: Any = good.result
    assert len(colours) == 16
    assert colours[0][0] > max(colours[0][1:])
    assert str(colours[0][0]) in told
