"""Copies of journals: what another machine finds, and what a store that fails does not destroy."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from maia.orchestrator import stored
from maia.orchestrator.conversation import Picture
from maia.orchestrator.endings import stopped_by
from maia.orchestrator.errors import LOCKED, STORE_FAILED, JournalError
from maia.orchestrator.events import Event, Finished, Stopped, TextPart, UnitName, UserMessage
from maia.orchestrator.journal import FILE_NAME, IMAGES, JournalReader, JournalWriter
from maia.orchestrator.pausing import Pause
from maia.orchestrator.run import RunSettings
from maia.orchestrator.stored import JournalStore, investigate_stored
from maia.orchestrator.wiring import Lab
from maia.wire.errors import InvalidRequestError, PreconditionError

pytest.importorskip("fsspec", reason="the extra store is not installed")

UNIT = UnitName("m", "l", 3)
PICTURES = tuple(Picture(data, "image/png", 1, 1) for data in (b"one", b"two"))
END = Finished(how="concluded", description="d", labels=["l"], rounds=1, tool_calls=0, seconds=0.1)
LAB = cast(Lab, None)


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> JournalStore:
    where = f"memory://{uuid.uuid4().hex}/sub" if request.param == "memory" else f"file://{tmp_path}/store"
    return JournalStore(where)


def round_of(number: int) -> UserMessage:
    return UserMessage(round=number, why="results", parts=[TextPart(f"round {number}")])


def machine(tmp_path: Path, name: str) -> tuple[RunSettings, Path]:
    settings = RunSettings(agent="scripted", out=tmp_path / name)
    return settings, settings.folder(UNIT)


def write(folder: Path, *events: Event, pictures: tuple[Picture, ...] = ()) -> None:
    with JournalWriter(folder) as journal:
        for picture in pictures:
            journal.add_picture(picture)
        for event in events:
            journal.append(event)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_machine_finds_journal_and_pictures(store: JournalStore, tmp_path: Path) -> None:
    (here, one), (there, two) = machine(tmp_path, "a"), machine(tmp_path, "b")
    write(one, round_of(1), pictures=PICTURES[:1])
    store.sync(here.out, one)
    write(one, round_of(2), pictures=PICTURES[1:])
    store.push(here.out, one)
    JournalStore(store.url).sync(there.out, two)
    assert contents(two) == contents(one)
    assert len(list((two / IMAGES).iterdir())) == 2
    write(two, END)  # and goes on
    JournalStore(store.url).sync(there.out, two)
    store.sync(here.out, one)
    assert contents(one) == contents(two)
    assert isinstance(JournalReader(one).events[-1], Finished)


def test_what_was_torn_here_is_completed_by_the_copy(store: JournalStore, tmp_path: Path) -> None:
    settings, folder = machine(tmp_path, "a")
    write(folder, round_of(1), round_of(2))
    store.sync(settings.out, folder)
    journal = folder / FILE_NAME
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-5])
    store.sync(settings.out, folder)
    assert journal.read_bytes() == whole


def test_half_a_line_is_not_copied(store: JournalStore, tmp_path: Path) -> None:
    (here, one), (there, two) = machine(tmp_path, "a"), machine(tmp_path, "b")
    write(one, round_of(1))
    whole = (one / FILE_NAME).read_bytes()
    (one / FILE_NAME).write_bytes(whole + whole[:9])
    store.sync(here.out, one)
    store.sync(there.out, two)
    assert (two / FILE_NAME).read_bytes() == whole


def test_where_there_is_nothing_nothing_is_made(store: JournalStore, tmp_path: Path) -> None:
    settings, folder = machine(tmp_path, "a")
    store.sync(settings.out, folder)
    store.push(settings.out, folder)
    assert not folder.exists()


def test_two_different_runs_are_not_mixed(store: JournalStore, tmp_path: Path) -> None:
    (here, one), (there, two) = machine(tmp_path, "a"), machine(tmp_path, "b")
    write(one, round_of(1))
    write(two, round_of(2))
    store.sync(here.out, one)
    before = contents(two)
    with pytest.raises(JournalError, match="are of different runs"):
        store.sync(there.out, two)
    assert contents(two) == before


def test_nothing_is_fetched_into_a_journal_that_is_being_written(store: JournalStore, tmp_path: Path) -> None:
    (here, one), (there, two) = machine(tmp_path, "a"), machine(tmp_path, "b")
    write(one, round_of(1))
    store.sync(here.out, one)
    with JournalWriter(two), pytest.raises(JournalError) as caught:
        store.sync(there.out, two)
    assert caught.value.reason == LOCKED


def test_what_made_room_stays_in_the_store(store: JournalStore, tmp_path: Path) -> None:
    (here, one), (there, two) = machine(tmp_path, "a"), machine(tmp_path, "b")
    for number in (1, 2):
        write(one, round_of(number), pictures=PICTURES)
        store.sync(here.out, one)
        store.set_aside(here.out, one)
        one.rename(tmp_path / f"kept-{number}")
        store.sync(there.out, two)
        assert not two.exists()
    store.set_aside(here.out, one)
    kept = sorted(path for path in store._files.find(store._root) if path.endswith(FILE_NAME))
    assert [path.split("/")[-2] for path in kept] == ["3-1", "3-2"]
    write(one, round_of(3), pictures=PICTURES)
    store.sync(here.out, one)
    store.sync(there.out, two)
    assert contents(two) == contents(one)


def test_a_picture_is_there_before_the_line_that_names_it(
    store: JournalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = machine(tmp_path, "a")
    write(folder, round_of(1), pictures=PICTURES)
    written: list[str] = []
    monkeypatch.setattr(JournalStore, "_write", lambda _self, path, _data: written.append(path))
    store.push(settings.out, folder)
    assert [path.endswith(FILE_NAME) for path in written] == [False, False, True]
    store.push(settings.out, folder)
    assert len(written) == 4  # no picture twice


def plays(monkeypatch: pytest.MonkeyPatch, folder: Path, rounds: int) -> list[int]:
    """Let units write rounds into a journal; returns those that were begun."""
    begun: list[int] = []

    async def investigate_unit(
        _unit: UnitName, _lab: Lab, _settings: RunSettings, on_event: Callable[[Event], None], *, pause: Pause
    ) -> Finished | Stopped:
        with JournalWriter(folder) as journal:
            journal.listeners.append(on_event)
            for number in range(len(journal.events) + 1, rounds + 1):
                begun.append(number)
                journal.append(round_of(number))
                await pause.wait(0.3)
                if pause.asked:
                    stopped = Stopped("paused", "PAUSED", pause.message)
                    journal.append(stopped)
                    return stopped
            journal.append(END)
            return END

    monkeypatch.setattr(stored, "investigate_unit", investigate_unit)
    return begun


async def test_every_round_is_copied_and_another_machine_goes_on(
    store: JournalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here, one), (there, two) = machine(tmp_path, "a"), machine(tmp_path, "b")
    copies: list[int] = []
    push = JournalStore.push

    def counted(self: JournalStore, out: Path, folder: Path) -> None:
        push(self, out, folder)
        copies.append((self._read(self._path(out, folder, FILE_NAME)) or b"").count(b"\n"))

    monkeypatch.setattr(JournalStore, "push", counted)
    plays(monkeypatch, one, 2)
    pause = Pause()

    def heard(event: Event) -> None:
        if isinstance(event, UserMessage) and event.round == 2:
            pause.ask()

    ended = await investigate_stored(store, UNIT, LAB, here, heard, pause=pause)
    assert isinstance(ended, Stopped)
    assert copies[0] == 1
    assert copies[-1] == 3
    begun = plays(monkeypatch, two, 5)
    assert await investigate_stored(JournalStore(store.url), UNIT, LAB, there) == END
    assert begun == [4, 5]
    store.sync(here.out, one)
    assert isinstance(JournalReader(one).events[-1], Finished)


async def test_a_store_that_fails_pauses_its_unit_and_no_other(
    store: JournalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = machine(tmp_path, "a")
    begun = plays(monkeypatch, folder, 9)
    real, batch = JournalStore._write, Pause()

    def fails(*_: object) -> None:
        raise JournalError("the store is full", reason=STORE_FAILED)

    monkeypatch.setattr(JournalStore, "_write", fails)
    ended = await investigate_stored(store, UNIT, LAB, settings, pause=batch)
    assert isinstance(ended, Stopped)
    assert (ended.why, ended.message) == ("paused", "the store is full")
    assert not batch.asked
    assert begun == [1]
    monkeypatch.setattr(JournalStore, "_write", real)
    assert await investigate_stored(store, UNIT, LAB, settings, pause=batch) == END
    other, there = machine(tmp_path, "b")
    store.sync(other.out, there)
    assert contents(there) == contents(folder)


async def test_a_finding_that_was_not_copied_is_not_told_as_one(
    store: JournalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = machine(tmp_path, "a")
    plays(monkeypatch, folder, 0)

    def fails(*_: object, **__: object) -> None:
        raise ConnectionResetError("cut\nand more")

    monkeypatch.setattr(store._files, "pipe_file", fails)
    with pytest.raises(JournalError) as caught:
        await investigate_stored(store, UNIT, LAB, settings)
    assert caught.value.reason == STORE_FAILED
    assert "\n" not in caught.value.message
    assert stopped_by(caught.value).why == "paused"
    assert JournalReader(folder).events[-1].kind == "finished"


@pytest.mark.parametrize("url", ["", "results", "s3:", "s3://", "://x", "nonsense://x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        JournalStore(url)
    assert caught.value.reason == "STORE_INVALID"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("module", "url", "says"), [("fsspec", "s3://b/x", "maia[store]"), ("s3fs", "s3://b/x", "s3fs")]
)
def test_what_is_not_installed_is_named(module: str, url: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PreconditionError) as caught:
        JournalStore(url)
    assert caught.value.reason == "EXTRA_MISSING"
    assert f"pip install {says}" in caught.value.message.replace("'", "")
