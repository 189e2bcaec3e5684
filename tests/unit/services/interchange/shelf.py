"""A server of files as the published sets have one, and how it may fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Shelf:
    """Files by path; answers ranges if `ranged`, and cuts the next connections after so many bytes.

    Attributes:
        files: Their bytes.
        cuts: Bytes after which each next connection ends.
        statuses: Of the next answers, instead of files.
        ranged: Whether a range is answered with one.
        validators: Headers that say which state of a file this is; {path} and {hash} are filled in.
        asked: Path and Range of every request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranged: bool = True
    etags: bool = True
    dates: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def tag(self, path: str) -> str:
        return f'"{hash(self.files[path]) & 0xFFFFFFFF:x}"'


@contextmanager
def shelf() -> Iterator[Shelf]:
    served = Shelf()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            served.asked.append((self.path, asked))
            status = served.statuses.pop(0) if served.statuses else 200
            if status == 200 and self.path not in served.files:
                status = 404
            if status != 200:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = served.files[self.path]
            start = 0
            unchanged = self.headers.get("If-Range", "") in {"", served.tag(self.path), formatdate(0, usegmt=True)}
            if asked and served.ranged and unchanged:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
                if start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            if served.etags:
                self.send_header("ETag", served.tag(self.path))
            if served.dates:
                self.send_header("Last-Modified", formatdate(0, usegmt=True))
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            body = data[start:]
            if served.cuts:
                body = body[: served.cuts.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/sets/"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
