"""Pictures that were made once, kept on disk by everything that they came from, and bounded in bytes.

An entry is one file, named by its key: a line with the digest of what follows, a line of JSON with the warnings, the
PNG. Whatever is not exactly that is no entry. Files appear by renaming, so that several processes may share a folder;
a lock guards the count of bytes alone. The least recently used entries go first; the time of use is the file's.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from maia.wire.errors import MaiaError

_log = structlog.get_logger(__name__)

_KEPT: Final = 0.9
"""Part of the limit that is kept when the limit is reached, so that not every new entry costs a look at all others."""
_UNFINISHED_S: Final = 3600.0
"""Age at which a file that was never renamed is one that nobody will finish."""
_COUNT: Final = "bytes"
_LOCK: Final = "lock"
_PART: Final = ".part"


@dataclass(frozen=True, slots=True)
class MadePicture:
    """A picture, as the bytes of a PNG, and a sentence for each thing that could not be done."""

    png: bytes
    warnings: tuple[str, ...]


def result_key(**parts: str | int) -> str:
    """Return the key of a result: the digest of everything that decides it."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class ResultStore:
    """The results in one folder.

    What goes wrong on disk is logged once and is no failure: a result that cannot be read is made again.

    Args:
        folder: Made when the first result is kept.
        limit: Most bytes of all entries together; 0 switches the store off.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._complained = False
        self._last_ns = 0
        self._counted = False

    async def recall(self, keys: Sequence[str]) -> dict[str, MadePicture]:
        """Return the results that are kept, by key; in a thread, since disks are slow."""
        if not self._limit:
            return {}
        found = await asyncio.to_thread(lambda: {key: self.get(key) for key in dict.fromkeys(keys)})
        return {key: made for key, made in found.items() if made is not None}

    async def keep(self, made: Mapping[str, MadePicture | MaiaError]) -> dict[str, MadePicture]:
        """Keep what was made, and return it.

        Raises:
            MaiaError: The first error among it, once the pictures are kept.
        """
        pictures = {key: one for key, one in made.items() if isinstance(one, MadePicture)}
        if self._limit:
            await asyncio.to_thread(self._put_all, pictures)
        for one in made.values():
            if isinstance(one, MaiaError):
                raise one
        return pictures

    def get(self, key: str) -> MadePicture | None:
        """Return the result of a key, None if there is none or it is damaged."""
        if not self._limit:
            return None
        path = self._path(key)
        try:
            made = _decoded(path.read_bytes())
            if made is None:
                path.unlink()
            else:
                self._use(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(error)
            return None
        return made

    def put(self, key: str, made: MadePicture) -> None:
        """Keep a result, unless it alone is larger than the limit."""
        data = _encoded(made)
        if len(data) > self._limit:
            return
        path = self._path(key)
        part = path.with_name(f"{key}.{secrets.token_hex(4)}{_PART}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
            self._use(part)
            with self._locked():
                # Counted first: a process that dies in between leaves the count too high, and the next look at all
                # entries corrects it.
                total = self._total() + len(data)
                self._write_total(total)
                part.replace(path)
                if total > self._limit:
                    self._make_room()
        except OSError as error:
            self._complain(error)
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _put_all(self, pictures: Mapping[str, MadePicture]) -> None:
        for key, one in pictures.items():
            self.put(key, one)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _use(self, path: Path) -> None:
        # The kernel's own clock ticks too slowly to tell the order of two uses.
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        os.utime(path, ns=(self._last_ns, self._last_ns))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _total(self) -> int:
        """Bytes as counted by all processes; looked up once by each, in case one died while it counted."""
        try:
            total = int((self._folder / _COUNT).read_text()) if self._counted else None
        except (OSError, ValueError):
            total = None
        self._counted = True
        return sum(size for _, _, size in self._entries()) if total is None else total

    def _write_total(self, total: int) -> None:
        (self._folder / _COUNT).write_text(str(total))

    def _make_room(self) -> None:
        entries = sorted(self._entries())
        total = sum(size for _, _, size in entries)
        if total > self._limit:
            for _, path, size in entries[:-1]:  # never the one that was just kept
                if total <= self._limit * _KEPT:
                    break
                path.unlink(missing_ok=True)
                total -= size
        self._write_total(total)

    def _entries(self) -> Iterator[tuple[int, Path, int]]:
        """Time of last use, file and bytes of every entry; removes what a dead process left unfinished."""
        for path in self._folder.glob("??/*"):
            with suppress(FileNotFoundError):  # another process may remove a damaged one
                state = path.stat()
                if path.suffix != _PART:
                    yield state.st_mtime_ns, path, state.st_size
                elif time.time() - state.st_mtime > _UNFINISHED_S:
                    path.unlink()

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            _log.warning("results_not_kept", folder=str(self._folder), problem=error.strerror or type(error).__name__)


def _encoded(made: MadePicture) -> bytes:
    body = json.dumps(made.warnings).encode() + b"\n" + made.png
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _decoded(data: bytes) -> MadePicture | None:
    digest, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    warnings, _, png = body.partition(b"\n")
    return MadePicture(png, tuple(json.loads(warnings)))
