"""A vendor on loopback: an HTTP server in the caller's own event loop that keeps every byte it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

CUT = "cut"  # hang up without an answer
SILENT = "silent"  # never answer


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        body = json.loads(self.body)
        assert isinstance(body, dict)
        return body


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: after `sent` bytes of the body the connection is cut; between `pieces` of it is a short pause."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    pieces: int = 1

    @classmethod
    def of(cls, body: object) -> Answer:
        """Return a success."""
        return cls(200, json.dumps(body).encode())


@dataclass
class LoopbackVendor:
    """Answers with prepared answers, the last one again and again."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answers: list[Answer | str | Callable[[Request], Answer]] = field(default_factory=list)

    def will_break_off(self, body: object) -> None:
        """Promise a whole answer, and hang up in the middle of it."""
        data = json.dumps(body).encode()
        self.answers.append(Answer(200, data, {"retry-after-ms": "1"}, sent=len(data) // 2))

    def will_dawdle(self, body: object) -> None:
        """Send an answer in many small pieces."""
        self.answers.append(Answer(200, json.dumps(body).encode(), pieces=8))

    def will_answer(self, status: int, body: object, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        # Retries are immediate, so that no test waits for the SDK's own pauses.
        named = {"retry-after-ms": "1"} | {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(Answer(status, data, named))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read_request(reader):
                self.requests.append(request)
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                if answer == CUT:
                    return
                if not isinstance(answer, Answer | str):
                    answer = answer(request)
                if isinstance(answer, str):
                    await asyncio.Event().wait()
                else:
                    await _send(writer, answer)
                    if answer.sent is not None:
                        return
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *rest = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in rest if header)}
    return Request(line, headers, await reader.readexactly(int(headers["content-length"])))


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    wire = _wire(answer)
    end = len(wire) if answer.sent is None else len(wire) - len(answer.body) + answer.sent
    step = -(-end // answer.pieces)
    for start in range(0, end, step):
        writer.write(wire[start : min(start + step, end)])
        await writer.drain()
        if answer.pieces > 1:
            await asyncio.sleep(0.02)


def _wire(answer: Answer) -> bytes:
    headers = {"content-type": "application/json", "content-length": str(len(answer.body)), **answer.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Said\r\n{head}\r\n".encode() + answer.body


@asynccontextmanager
async def loopback() -> AsyncIterator[LoopbackVendor]:
    """Run a vendor without answers."""
    vendor = LoopbackVendor()
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(vendor.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1 << 24)
    vendor.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield vendor
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections)
        await server.wait_closed()
