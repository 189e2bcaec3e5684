"""The journal of one unit: an append-only file of checked lines, and pictures named by hash beside it.

A line is a JSON object, so that any tool can read it, and carries what recognises a torn or altered one:

    {"format":1,"length":<bytes of the event>,"checksum":"<CRC-32, 8 hex digits>","event":{…}}

Length and checksum are of the event's bytes exactly as they stand in the line. A last line without its end (a kill, a
full disk) is left out by readers and cut off by the next writer; a whole line that is damaged, or of a format that
this version does not know, is an error wherever it stands, and nothing of it is cut off.

Nothing is ever taken out. Where a later process goes on, its first event says which of those before it stand
(`events.Resumed`); `events` are those that do, `voided` the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import json
import os
import socket
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import structlog

from maia.orchestrator.conversation import Picture
from maia.orchestrator.errors import DISK_FULL, LOCKED, JournalError, refused
from maia.orchestrator.events import DescriberReply, Event, Resumed, event_adapter

log = structlog.stdlib.get_logger("maia.journal")

FORMAT: Final = 2
"""Of the lines that are written. Format 1 knew no run that goes on in another process; it is read all the same."""

_READABLE: Final = frozenset({1, FORMAT})
FILE_NAME: Final = "journal.jsonl"
IMAGES: Final = "images"
WRITER: Final = ".writer"
"""Names the process that holds the journal's lock. What a killed one leaves here locks nobody out: the lock decides."""

ROOM_PAUSE_S: Final = 2.0
"""Between two looks for room on a full disk."""

PAID_PATIENCE_S: Final = 300.0
"""How long a reply, which is paid for, waits for that room."""

_SUFFIX: Final = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


_T = TypeVar("_T")


def encode_line(event: Event) -> bytes:
    """Return the event as one line with its format, length and checksum."""
    body = event_adapter.dump_json(event)
    return b'{"format":%d,"length":%d,"checksum":"%08x","event":%s}\n' % (
        FORMAT,
        len(body),
        zlib.crc32(body),
        body,
    )


def decode_line(line: bytes) -> Event:
    """Return the event of a line.

    Raises:
        ValueError: The line is torn, altered, or of a format that this version does not know.
    """
    head, separator, rest = line.partition(b',"event":')
    if not (separator and rest.endswith(b"}\n")):
        raise ValueError("not a whole journal line")
    try:
        fields = json.loads(head + b"}")
    except RecursionError as error:
        raise ValueError("not a journal line") from error
    if not isinstance(fields.get("format"), int) or fields["format"] not in _READABLE:
        raise ValueError(f"format {fields.get('format')}; this version reads formats up to {FORMAT}")
    body = rest[:-2]
    if fields.get("length") != len(body):
        raise ValueError(f"{len(body)} bytes where {fields.get('length')} were written")
    if fields.get("checksum") != f"{zlib.crc32(body):08x}":
        raise ValueError("the checksum does not fit")
    return event_adapter.validate_json(body)


class JournalReader:
    """The journal of a finished, stopped or running unit.

    Args:
        folder: The unit's folder.

    Raises:
        JournalError: There is no journal, or a line before the last is damaged.

    Attributes:
        events: Those that stand.
        voided: Those that do not, as many lists as the run was gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        contents = _read(folder / FILE_NAME)
        self.whole_bytes = contents.whole_bytes
        self.events = contents.events
        self.voided = contents.voided

    def picture(self, sha256: str, media_type: str) -> bytes:
        """Return the bytes of a picture; see `read_picture`."""
        return read_picture(self.folder, sha256, media_type)


class JournalWriter:
    """Appends events and pictures; one process at a time.

    Args:
        folder: The unit's folder; made if absent. An existing journal is continued after its last whole line.

    Raises:
        JournalError: Another process writes this journal, or the folder cannot be written.

    Attributes:
        events: Those that stood when it was opened.
        voided: Those that did not; see `JournalReader`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: set[str] = set()
        self._unsynced: list[Path] = []
        self.listeners: list[Callable[[Event], None]] = []
        path = folder / FILE_NAME
        self._file = locked(folder)
        try:
            contents = _read(path)
            self._bytes = contents.whole_bytes
            self._file.truncate(self._bytes)
        except OSError as error:
            self._file.close()
            raise refused(path, error, "use another --out") from error
        except JournalError:
            self._file.close()
            raise
        self.events = contents.events
        self.voided = contents.voided
        self._clock = time.monotonic() - contents.last_at

    @property
    def seconds(self) -> float:
        """Of work on the run so far, in all processes."""
        return time.monotonic() - self._clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def put(self, event: Event, *, patience_s: float = 0.0) -> None:
        """Write one event, tell the listeners, and return when it, and all before it, would survive a power cut.

        The event loop does not wait for the disk.

        Args:
            event: As of `append`.
            patience_s: How long to wait for room on a full disk: of what is paid for.

        Raises:
            JournalError: The disk refuses.
        """
        until = time.monotonic() + patience_s
        while True:
            try:
                self.append(event)
                break
            except JournalError as error:
                if error.reason != DISK_FULL or time.monotonic() >= until:
                    raise
                log.warning("the disk is full; what has arrived waits for room", folder=str(self.folder))
            await asyncio.sleep(min(ROOM_PAUSE_S, patience_s))
        pictures, self._unsynced = self._unsynced, []
        try:
            await _off_the_loop(partial(self._sync, pictures))
        except OSError as error:
            self._unsynced += pictures
            raise refused(self.folder / FILE_NAME, error) from error

    async def store(self, pictures: Sequence[Picture]) -> None:
        """Do what `add_picture` does, for many, while the event loop goes on.

        Raises:
            JournalError: The disk refuses.
        """
        for stored in await _off_the_loop(lambda: [self._store(picture) for picture in pictures]):
            self._note_stored(*stored)

    def append(self, event: Event, *, sync: bool = False) -> None:
        """Write one event and tell the listeners.

        Args:
            event: Its `at` is set here.
            sync: Return only when the event, and all before it, would survive a power cut.

        Raises:
            JournalError: The disk refuses; the journal ends with the event before.
        """
        event = dataclasses.replace(event, at=round(self.seconds, 4))
        try:
            self._write(encode_line(event))
            if sync:
                self._sync_all()
        except OSError as error:
            raise refused(self.folder / FILE_NAME, error) from error
        for listener in self.listeners:
            listener(event)

    def add_picture(self, picture: Picture) -> str:
        """Store a picture once, under its hash, and return the hash.

        Raises:
            JournalError: The disk refuses.
        """
        sha256, path = self._store(picture)
        self._note_stored(sha256, path)
        return sha256

    def _store(self, picture: Picture) -> tuple[str, Path | None]:
        """Write a picture's file; returns its hash, and the file if it is new.

        A file that an earlier process has left is taken only if it holds the picture: a power cut may have left a name
        without its bytes.
        """
        sha256 = picture.sha256
        path = picture_path(self.folder, sha256, picture.media_type)
        if sha256 in self._known:
            return sha256, None
        half = path.with_suffix(f".{threading.get_ident()}.part")
        try:
            if path.exists() and path.read_bytes() == picture.data:
                return sha256, None
            with half.open("wb") as file:
                file.write(picture.data)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                half.unlink(missing_ok=True)
            raise refused(path, error) from error
        return sha256, path

    def _note_stored(self, sha256: str, new: Path | None) -> None:
        self._known.add(sha256)
        if new is not None:
            self._unsynced.append(new)

    def reread(self) -> None:
        """Set `events` and `voided` to what stands in the file now.

        Raises:
            JournalError: It cannot be read.
        """
        contents = _read(self.folder / FILE_NAME)
        self.events, self.voided = contents.events, contents.voided

    def close(self) -> None:
        """Flush to disk and give up the lock.

        Raises:
            JournalError: The disk refuses.
        """
        if self._file.closed:
            return
        try:
            self._sync_all()
        except OSError as error:
            raise refused(self.folder / FILE_NAME, error) from error
        finally:
            with contextlib.suppress(OSError):
                (self.folder / WRITER).unlink(missing_ok=True)
            self._file.close()

    def _sync_all(self) -> None:
        self._sync(self._unsynced)
        self._unsynced.clear()

    def _sync(self, pictures: Sequence[Path]) -> None:
        """Bring everything to the disk: the names of new pictures first, so that no line outlives what it speaks of."""
        if pictures:
            descriptor = os.open(self.folder / IMAGES, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        os.fsync(self._file.fileno())

    def _write(self, line: bytes) -> None:
        """Write a whole line or none: after half of one, the next event would make the journal unreadable."""
        written = 0
        try:
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self._bytes)
            raise
        self._bytes += written


@asynccontextmanager
async def writing(folder: Path) -> AsyncIterator[JournalWriter]:
    """Open a unit's journal, and close it at the end, while the event loop goes on.

    Raises:
        JournalError: As of `JournalWriter` and its `close`.
    """
    opened: list[JournalWriter] = []  # so that an interruption while it is opened leaves no lock behind
    try:
        await _off_the_loop(lambda: opened.append(JournalWriter(folder)))
        yield opened[0]
    finally:
        for journal in opened:
            await _off_the_loop(journal.close)


@cache
def _disk() -> ThreadPoolExecutor:
    """Threads that wait for the disk, apart from those that compute."""
    return ThreadPoolExecutor(4, thread_name_prefix="journal")


async def _off_the_loop(work: Callable[[], _T]) -> _T:
    """Do something in a thread, and come back only when it is done: an interruption must not close a file in use."""
    future = asyncio.get_running_loop().run_in_executor(_disk(), work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        raise


def locked(folder: Path) -> io.FileIO:
    """Open a unit's journal to append to, and lock it until the file is closed; the folder is made if absent.

    Raises:
        JournalError: Another process holds it, which the message names, or the folder cannot be written.
    """
    path = folder / FILE_NAME
    try:
        (folder / IMAGES).mkdir(parents=True, exist_ok=True)
        file = io.FileIO(path, "ab")  # unbuffered: what a full disk refused must not be tried again by close()
    except OSError as error:
        raise refused(folder, error, "use another --out") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        who = _signed(folder)
        raise JournalError(
            f"{path} is being written by {who}; wait for it or use another --out", reason=LOCKED
        ) from error
    except OSError as error:
        file.close()
        raise refused(path, error, "use another --out") from error
    _sign(folder)
    return file


def picture_path(folder: Path, sha256: str, media_type: str) -> Path:
    """Return where a unit's folder keeps a picture."""
    return folder / IMAGES / (sha256 + _SUFFIX[media_type])


def read_picture(folder: Path, sha256: str, media_type: str) -> bytes:
    """Return the bytes of a picture that a unit's folder keeps.

    Raises:
        JournalError: The file is missing or altered.
    """
    path = picture_path(folder, sha256, media_type)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"the picture {path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise JournalError(f"the picture {path} is not what was written there: its SHA-256 differs from its name")
    return data


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a journal holds. `last_at` is the latest time in it."""

    events: tuple[Event, ...]
    voided: tuple[tuple[Event, ...], ...]
    whole_bytes: int
    last_at: float


def _read(path: Path) -> _Contents:
    events, whole_bytes = _whole_lines(path)
    last_at = max((event.at for event in events), default=0.0)
    standing, voided = _standing(events)
    return _Contents(tuple(standing), tuple(voided), whole_bytes, last_at)


def _standing(events: Iterable[Event]) -> tuple[list[Event], list[tuple[Event, ...]]]:
    standing: list[Event] = []
    voided: list[tuple[Event, ...]] = []
    for event in events:
        if isinstance(event, Resumed):
            tail = standing[event.keeps :]
            paid = [one for one in tail if isinstance(one, DescriberReply)]
            voided.append(tuple(tail))
            standing[event.keeps :] = paid
        standing.append(event)
    return standing, voided


def _sign(folder: Path) -> None:
    """Say who holds the lock; without room for that it holds all the same."""
    path = folder / WRITER
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)  # whatever it is: writing must not follow a link
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {socket.gethostname()}\n")


def _signed(folder: Path) -> str:
    """Return who holds the lock, as far as it has said so."""
    try:
        pid, _, host = (folder / WRITER).read_text(encoding="utf-8").strip().partition(" ")
    except (OSError, ValueError):
        return "another process"
    return f"process {pid} on host {host}" if pid and host else "another process"


def _whole_lines(path: Path) -> tuple[list[Event], int]:
    """Read the events of the whole lines, and how many bytes these take; a torn last line is left out."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"there is no readable journal at {path}: {error.strerror}") from error
    events: list[Event] = []
    whole = 0
    for number, line in enumerate(io.BytesIO(data), 1):
        try:
            events.append(decode_line(line))
        except ValueError as error:
            if not line.endswith(b"\n"):  # only the last one can be without
                break
            raise JournalError(f"{path}, line {number}: {error}") from error
        whole += len(line)
    return events, whole
