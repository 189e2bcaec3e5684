"""One large file over HTTP, through cut connections: what has come stays in a `.part` file and is gone on with."""

from __future__ import annotations

import email.message
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from typing_extensions import override

from maia.services.interchange.failures import shown, writing
from maia.services.interchange.progress import OnStep, Step, unheard
from maia.wire.errors import NotFoundError, PreconditionError, UnavailableError

__all__ = ["Patience", "download", "require_room"]

_PIECE: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_PARTIAL: Final = 206
_BEYOND: Final = 416
_GONE: Final = frozenset({404, 410})
_BUSY: Final = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is borne with.

    Attributes:
        attempts: In a row that bring nothing.
        pause_s: Before the second; twice as long before each further one.
        silence_s: Without a byte on a connection.
    """

    attempts: int = 4
    pause_s: float = 1.0
    silence_s: float = 60.0


def download(url: str, file: Path, *, doing: str, patience: Patience | None = None, on_step: OnStep = unheard) -> None:
    """Download to a file, which appears when it is whole.

    What an earlier call has left in `<file>.part` is gone on with if the server's file is still the same.

    Args:
        url: http or https; proxies are those of the environment.
        file: In a folder that exists.
        doing: What `on_step` is told.
        patience: With the server; None for the usual.
        on_step: Is told of the bytes.

    Raises:
        NotFoundError: DOWNLOAD_MISSING: the server has no such file.
        UnavailableError: DOWNLOAD_FAILED: no connection, an error of the server, or connections cut again and again.
        PreconditionError: DISK_FULL or FOLDER_UNWRITABLE.
    """
    patience = patience or Patience()
    part = _Part(file.with_name(f"{file.name}.part"))
    barren = 0
    while True:
        before = part.size
        permanent = False
        try:
            if _attempt(url, part, patience.silence_s, doing, on_step):
                part.finish(file)
                return
            why = "the connection was cut"
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _GONE:
                raise NotFoundError(
                    f"there is no {url} (HTTP {error.code}); check the name, and --base-url",
                    reason="DOWNLOAD_MISSING",
                    metadata={"url": url},
                ) from error
            why, permanent = f"HTTP {error.code} {error.reason}", error.code not in _BUSY
        except (http.client.HTTPException, OSError) as error:
            why = str(getattr(error, "reason", "") or error or type(error).__name__)
        barren = 0 if part.size > before else barren + 1
        if permanent or barren == patience.attempts:
            raise UnavailableError(
                f"{url} cannot be downloaded: {shown(why)}; the same command goes on after {part.size} bytes",
                reason="DOWNLOAD_FAILED",
                metadata={"url": url},
            )
        time.sleep(patience.pause_s * 2 ** max(barren - 1, 0))


def require_room(folder: Path, size: int) -> None:
    """Refuse to begin what a disk has no room for.

    Raises:
        PreconditionError: DISK_FULL.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PreconditionError(
            f"{size} bytes do not fit into {shown(folder)}, where {free} are free; make room there, or choose "
            "another folder",
            reason="DISK_FULL",
            metadata={"needed": str(size), "free": str(free)},
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """What has come so far, and beside it of which state of the server's file that is."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def _source(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def remember(self, url: str, validator: str, total: int) -> None:
        told = {"url": url, "validator": validator, "total": total}
        self._source.write_text(json.dumps(told), encoding="utf-8")

    def remembered(self, url: str) -> tuple[str, int]:
        """Return what If-Range may carry, "" for nothing, and the size of the whole file, 0 if nobody knows."""
        try:
            told = json.loads(self._source.read_bytes())
            return (str(told["validator"]), int(told["total"])) if told["url"] == url else ("", 0)
        except (OSError, ValueError, KeyError, TypeError):
            return "", 0

    def finish(self, file: Path) -> None:
        with writing(file.parent):
            self.path.replace(file)
            self._source.unlink(missing_ok=True)

    def discard(self) -> None:
        with writing(self.path.parent):
            self.path.unlink(missing_ok=True)


def _attempt(url: str, part: _Part, silence_s: float, doing: str, on_step: OnStep) -> bool:
    """Go on with the part, and return whether it is whole then."""
    request = urllib.request.Request(url)  # noqa: S310  `fetch` takes http and https only
    opener = urllib.request.build_opener(_HttpOnly)
    size, (validator, whole) = part.size, part.remembered(url)
    if size and (validator or whole):
        request.add_header("Range", f"bytes={size}-")
        if validator:
            request.add_header("If-Range", validator)
    try:
        response = opener.open(request, timeout=silence_s)
    except urllib.error.HTTPError as error:
        if error.code != _BEYOND:
            raise
        error.close()
        known = _RANGE.match(error.headers.get("Content-Range", ""))
        if known is not None and known[2] == str(size):
            return True
        part.discard()
        return False
    with response:
        start, total = 0, 0
        if response.status == _PARTIAL:
            said = _RANGE.match(response.headers.get("Content-Range", ""))
            if said is None or said[1] != str(size) or (whole and said[2] != str(whole)):
                part.discard()
                raise http.client.HTTPException("its file has changed meanwhile")
            start = size
        length = response.headers.get("Content-Length", "")
        if length.isdecimal():
            total = start + int(length)
            require_room(part.path.parent, int(length))
        if not start:
            with writing(part.path.parent):
                part.discard()
                part.remember(url, _validator(response.headers), total)
        done = _receive(response, part.path, start, Step(doing, start, total, "bytes"), on_step)
        return done == total or not total


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows a server to no other kind of address, as the library would to FTP."""

    @override
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in {"http", "https"}:
            raise urllib.error.HTTPError(newurl, code, f"leads to {newurl:.200}, which is not http", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(response: http.client.HTTPResponse, path: Path, start: int, step: Step, on_step: OnStep) -> int:
    done = start
    with writing(path.parent):
        file = path.open("ab")
    with file:
        on_step(step)
        while piece := response.read1(_PIECE):
            with writing(path.parent):
                file.write(piece)
            done += len(piece)
            on_step(Step(step.doing, done, step.total, "bytes"))
        with writing(path.parent):
            file.flush()
            os.fsync(file.fileno())
    return done


def _validator(headers: email.message.Message) -> str:
    """Return what If-Range may carry: a strong ETag, or else a date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")
