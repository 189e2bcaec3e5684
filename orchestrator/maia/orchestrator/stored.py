"""Copies of journals in an object store, from which another machine goes on.

A store is any address that fsspec knows: s3://, gs://, file://, memory://. A unit's journal and pictures lie there
under the path that they have in the folder of results, pictures before the line that names them. Objects cannot be
appended to, so the whole journal is written each time; what it held is always the beginning of what it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from maia.orchestrator.errors import STORE_FAILED, JournalError, refused
from maia.orchestrator.events import Event, Finished, Stopped, UnitName, UserMessage
from maia.orchestrator.journal import FILE_NAME, IMAGES, JournalWriter
from maia.orchestrator.pausing import Pause
from maia.orchestrator.run import RunSettings, investigate_unit
from maia.orchestrator.wiring import Lab
from maia.wire.errors import InvalidRequestError, MaiaError, PreconditionError

REPLACED: Final = ".replaced"
"""Folder of a store for what made room."""

_PACKAGES: Final = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


@dataclass(slots=True)
class JournalStore:
    """Where copies of journals lie.

    Args:
        url: As fsspec takes it.

    Raises:
        PreconditionError: EXTRA_MISSING: fsspec, or what it needs for this protocol, is not installed.
        InvalidRequestError: STORE_INVALID: it is no such address.
    """

    url: str
    _files: Any = field(init=False, repr=False)
    _root: str = field(init=False, repr=False)
    _there: dict[str, set[str]] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        protocol, separator, rest = self.url.partition("://")
        if not (protocol and separator and rest):
            raise InvalidRequestError(
                f"{self.url!r:.200} is no address of a store; give one such as s3://BUCKET/FOLDER",
                reason="STORE_INVALID",
            )
        try:
            import fsspec
        except ModuleNotFoundError as error:
            raise _missing(self.url, "fsspec", "pip install 'maia[store]'") from error
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            package = _PACKAGES.get(protocol, "")
            raise _missing(self.url, package or str(error), f"pip install {package}" if package else "") from error
        except ValueError as error:
            raise InvalidRequestError(
                f"{self.url!r:.200} is no address of a store: {_line(error)}", reason="STORE_INVALID"
            ) from error
        self._files.use_listings_cache = False  # others write there too
        self._root = self._root.rstrip("/")

    def sync(self, out: Path, folder: Path) -> None:
        """Make a unit's folder and its copy the same, whichever holds more.

        Args:
            out: Folder of the results.
            folder: The unit's, under it.

        Raises:
            JournalError: STORE_FAILED: the store cannot be read or written; JOURNAL_LOCKED: another run is at the unit;
                or the two are different runs.
        """
        here = _whole(folder)
        there = self._read(self._path(out, folder, FILE_NAME))
        if there is None:
            there = b""
        if here.startswith(there):
            if len(here) > len(there):
                self.push(out, folder)
        elif there.startswith(here):
            self._fetch(out, folder, there)
        else:
            raise JournalError(
                f"the journal in {folder} and its copy in {self.url} are of different runs; use another --out or "
                "--journal-store"
            )

    def push(self, out: Path, folder: Path) -> None:
        """Copy what a unit's journal holds by now, and the pictures that the store lacks.

        Raises:
            JournalError: STORE_FAILED, or the folder cannot be read.
        """
        journal = _whole(folder)  # before the pictures: those that it names are there by now
        if not journal:
            return
        images = self._path(out, folder, IMAGES)
        known = self._there.get(images)
        if known is None:
            known = self._there[images] = self._names(images)
        for picture in sorted((folder / IMAGES).iterdir()):
            if picture.name not in known and picture.suffix != ".part":
                self._write(f"{images}/{picture.name}", picture.read_bytes())
                known.add(picture.name)
        self._write(self._path(out, folder, FILE_NAME), journal)

    def set_aside(self, out: Path, folder: Path) -> None:
        """Move a unit's copy to where it disturbs nobody.

        Raises:
            JournalError: STORE_FAILED.
        """
        source = self._path(out, folder)
        kept = f"{self._root}/{REPLACED}/{folder.relative_to(out).as_posix()}"
        with self._told():
            if not self._files.exists(f"{source}/{FILE_NAME}"):
                return
            number = 1
            while self._files.exists(f"{kept}-{number}/{FILE_NAME}"):
                number += 1
            for path in self._files.find(source):
                target = f"{kept}-{number}/{str(path).removeprefix(source).lstrip('/')}"
                self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._files.mv(path, target)
        self._there.pop(f"{source}/{IMAGES}", None)

    def _fetch(self, out: Path, folder: Path, journal: bytes) -> None:
        """Append what the copy holds more, its pictures first, while no run is at the unit."""
        images = self._path(out, folder, IMAGES)
        names = self._names(images)
        whole = journal[: journal.rfind(b"\n") + 1]
        with JournalWriter(folder):  # cuts a torn last line off, too
            for name in sorted(names):
                path = folder / IMAGES / name
                if not path.exists():
                    data = self._read(f"{images}/{name}") or b""
                    self._keep(path, data)
            path = folder / FILE_NAME
            try:
                with path.open("ab") as file:
                    file.write(whole[path.stat().st_size :])
            except OSError as error:
                raise refused(path, error) from error
        self._there[images] = names

    def _keep(self, path: Path, data: bytes) -> None:
        half = path.with_suffix(".fetched.part")
        try:
            half.write_bytes(data)
            half.replace(path)
        except OSError as error:
            raise refused(path, error) from error

    def _path(self, out: Path, folder: Path, *names: str) -> str:
        return "/".join((self._root, folder.relative_to(out).as_posix(), *names))

    def _read(self, path: str) -> bytes | None:
        with self._told():
            try:
                data: bytes = self._files.cat_file(path)
            except FileNotFoundError:
                return None
        return data

    def _write(self, path: str, data: bytes) -> None:
        with self._told():
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(path, data)

    def _names(self, folder: str) -> set[str]:
        with self._told():
            try:
                return {str(path).rpartition("/")[2] for path in self._files.ls(folder, detail=False)}
            except FileNotFoundError:
                return set()

    @contextlib.contextmanager
    def _told(self) -> Any:  # noqa: ANN401
        """Turn what a store raises into ours: each has errors of its own."""
        try:
            yield
        except MaiaError:
            raise
        except Exception as error:
            raise JournalError(
                f"the store {self.url} fails: {_line(error)}; what is here is kept, and the same command copies it",
                reason=STORE_FAILED,
            ) from error


async def investigate_stored(
    store: JournalStore,
    unit: UnitName,
    lab: Lab,
    settings: RunSettings,
    on_event: Callable[[Event], None] | None = None,
    *,
    pause: Pause | None = None,
) -> Finished | Stopped:
    """Do what `investigate_unit` does, from what the store holds, and copy the journal there after every round.

    When the store fails, the unit finishes its round and is paused; its journal stays where it is.

    Args:
        store: Where the copies are.
        unit: See `investigate_unit`.
        lab: See `investigate_unit`.
        settings: See `investigate_unit`.
        on_event: See `investigate_unit`.
        pause: See `investigate_unit`.

    Raises:
        JournalError: STORE_FAILED before the run or after it; else as `investigate_unit`.
        MaiaError: As `investigate_unit`.
        asyncio.CancelledError: As `investigate_unit`.
    """
    out, folder = settings.out, settings.folder(unit)
    await asyncio.to_thread(store.sync, out, folder)
    own = Pause()
    async with _copied(store, out, folder, own) as round_over, _passed_on(pause, own):

        def heard(event: Event) -> None:
            if isinstance(event, UserMessage):  # what a round has given; the next one begins
                round_over()
            if on_event is not None:
                on_event(event)

        ended = await investigate_unit(unit, lab, settings, heard, pause=own)
    try:
        await asyncio.to_thread(store.push, out, folder)
    except JournalError:
        if isinstance(ended, Finished):  # else it is stopped already, and says why
            raise
    return ended


@asynccontextmanager
async def _copied(store: JournalStore, out: Path, folder: Path, pause: Pause) -> AsyncIterator[Callable[[], None]]:
    """Yield what has a journal copied; an interrupted run's is copied once more.

    A copy that has begun comes to its end, since one that was left behind could overwrite a later one. When the store
    fails, the pause is asked for.
    """
    rounds, over = asyncio.Event(), False

    async def copy() -> None:
        while True:
            await rounds.wait()
            rounds.clear()
            if over:
                return
            try:
                await asyncio.to_thread(store.push, out, folder)
            except MaiaError as error:
                pause.ask(error.message)

    copying = asyncio.create_task(copy())
    interrupted = True
    try:
        yield rounds.set
        interrupted = False
    finally:
        over = True
        rounds.set()
        await asyncio.wait([copying])
        if interrupted:
            with contextlib.suppress(MaiaError):  # the journal is here
                await asyncio.to_thread(store.push, out, folder)


@asynccontextmanager
async def _passed_on(pause: Pause | None, own: Pause) -> AsyncIterator[None]:
    """Pass a pause of all units on to one, which may be paused alone."""

    async def wait() -> None:
        if pause is not None:
            await pause.when_asked()
            own.ask(pause.message)

    passing = asyncio.create_task(wait())
    try:
        yield
    finally:
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)


def _whole(folder: Path) -> bytes:
    """Return the whole lines of a journal; nothing where there is none."""
    try:
        data = (folder / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise JournalError(f"the journal in {folder} cannot be read: {error.strerror}") from error
    return data[: data.rfind(b"\n") + 1]


def _missing(url: str, what: str, install: str) -> PreconditionError:
    return PreconditionError(
        f"the store {url:.200} needs {what}, which is not installed{f'; run: {install}' if install else ''}",
        reason="EXTRA_MISSING",
        metadata={"module": what, "extra": "store"},
    )


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.300}"
