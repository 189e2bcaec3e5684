"""`maia run` with models that answer as models do on a bad day, over HTTP and through the vendors' own SDKs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from maia.orchestrator.agents.rules import broken_rules
from maia.orchestrator.events import BackboneReply, Finished, UserMessage
from maia.orchestrator.journal import JournalReader

if TYPE_CHECKING:
    from tests.e2e.conftest import Maia

CONCLUSION = "[DESCRIPTION]: It likes red things.\n[LABEL 1]: red\n"
KEY = "sk-a-key-of-no-vendor"

# What the model says, the vendor's reason for its end, and why the next message is sent.
TURNS: tuple[tuple[str | None, str, str], ...] = (
    ("", "stop", "empty_reply"),
    (None, "stop", "empty_reply"),
    ("I'm sorry, I cannot help with that.", "stop", "no_code"),
    ("I'll conclude with [DESCRIPTION] and [LABEL 1] later.", "stop", "no_code"),
    ("````markdown\n```python\nprint('nested')\n```\n````", "stop", "no_code"),
    ("```python\nprint(\n```", "stop", "results"),
    ("```python\nfor i in ran", "length", "cut_block"),
    (
        "~~~python\nprint('tilde')\n~~~\nand\n```python\ntools.display(tools.text2image(['a star'] * 3))\n```",
        "stop",
        "results",
    ),
    (f"```python\nprint('y' * 1000000)\n```\n{CONCLUSION}", "stop", "results"),
    ("*" * 200_000, "length", "no_code"),
    ("[LABEL 1]: red", "stop", "format"),
    ("[DESCRIPTION]: It likes red things.\n[LABEL 1]: re", "length", "format"),
    (f"```\n{CONCLUSION}```", "stop", ""),
)


@dataclass
class Vendor:
    """Speaks both protocols; `broken` are the rules that requests broke."""

    address: str
    requests: int = 0
    broken: list[str] = field(default_factory=list)
    without_key: int = 0

    def answer(self, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        anthropic = path.endswith("/messages")
        self.requests += 1
        self.broken += broken_rules("anthropic" if anthropic else "openai", body)
        self.without_key += KEY not in key
        text, end, _ = TURNS[sum(message["role"] == "assistant" for message in body["messages"])]
        if anthropic:
            return {
                "id": "m",
                "type": "message",
                "role": "assistant",
                "model": body["model"],
                "stop_sequence": None,
                "content": [{"type": "text", "text": text}] if text else [],
                "stop_reason": {"length": "max_tokens", "stop": "end_turn"}[end],
                "usage": {"input_tokens": 5, "output_tokens": 5},
            }
        message = {"role": "assistant", "content": text}
        return {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": end}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10},
        }


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            data = json.dumps(spoken.answer(self.path, str(self.headers), body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        @override
        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        spoken = Vendor(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield spoken
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("agent", "path", "variable"),
    [
        ("compatible:x", "/v1", "MAIA_COMPATIBLE_API_KEY"),
        ("openai:x", "/v1", "OPENAI_API_KEY"),
        ("anthropic:x", "", "ANTHROPIC_API_KEY"),
    ],
)
def test_a_conversation_with_awkward_replies_goes_on_and_the_journal_shows_why(
    maia: Maia, vendor: Vendor, agent: str, path: str, variable: str
) -> None:
    unit = ("--model", "scene-neurons", "--units", "mono=10")
    flags = ("--agent", agent, "--base-url", vendor.address + path)
    ended = maia("run", "--up", *unit, *flags, **{variable: KEY})
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    assert vendor.broken == []
    assert (vendor.requests, vendor.without_key) == (len(TURNS), 0)

    folder = maia.folder / "results" / agent.replace(":", "-") / "scene-neurons" / "mono" / "10"
    events = JournalReader(folder).events
    whys = [event.why for event in events if isinstance(event, UserMessage)]
    assert whys == ["task", *(why for _, _, why in TURNS if why)]
    assert [event.text for event in events if isinstance(event, BackboneReply)] == [text or "" for text, _, _ in TURNS]
    assert isinstance(events[-1], Finished)
    assert events[-1].labels == ["red"]
    assert not [file for file in maia.folder.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]
