"""A vendor of pictures on loopback, in a thread, since who asks it waits in another."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.unit.services.runtime.pictures import noise

from maia.wire.pictures import encode_png

PNG = encode_png(noise(3, 40, 24))


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived; `fields` are those of JSON or of a form, `file` the form's picture."""

    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, Any]
    file: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What it says; `cut`: the connection ends before the body does."""

    status: int
    body: object
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


@dataclass
class Vendor:
    """Answers each request as `answer` says."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Answer] = lambda _: picture()


def picture(data: bytes = PNG) -> Answer:
    return Answer(200, {"created": 1, "data": [{"b64_json": base64.b64encode(data).decode()}]})


def failure(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    error = {"message": message, "type": "image_generation_user_error", "param": None, "code": code}
    # The SDK's own pauses between attempts would only make the test slow.
    return Answer(status, {"error": error}, {"retry-after-ms": "1"} | told)


@contextmanager
def serving() -> Iterator[Vendor]:
    vendor = Vendor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, *_read(self.headers, body))
            vendor.requests.append(request)
            answer = vendor.answer(request)
            data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            with suppress(ConnectionError):  # who asked may have hung up
                self.send_response(answer.status)
                for name, value in {"content-type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if answer.cut else data)
            self.close_connection = self.close_connection or answer.cut

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        vendor.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield vendor
        finally:
            server.shutdown()
            thread.join()


def _read(headers: Any, body: bytes) -> tuple[dict[str, Any], bytes]:
    if headers["content-type"].startswith("application/json"):
        return json.loads(body), b""
    message = message_from_bytes(b"content-type: " + headers["content-type"].encode() + b"\r\n\r\n" + body)
    fields, file = {}, b""
    for part in message.walk():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if name and isinstance(data, bytes):
            if part.get_filename():
                file = data
            else:
                fields[str(name)] = data.decode()
    return fields, file
