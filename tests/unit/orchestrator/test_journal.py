"""The journal: what was written comes back, and what was torn or altered is noticed."""

import asyncio
import errno
import os
import re
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.orchestrator.conversation import Picture
from maia.orchestrator.errors import DISK_FULL, LOCKED, JournalError
from maia.orchestrator.events import BlockOutput, BlockStarted, Event, Finished
from maia.orchestrator.journal import (
    FILE_NAME,
    WRITER,
    JournalReader,
    JournalWriter,
    decode_line,
    encode_line,
    picture_path,
)

TRICKY = 'tricky: ,"event":{ \n \u2028 é \x85'
EVENTS: list[Event] = [
    BlockStarted(round=1, block=1, code="print('x')"),
    BlockOutput(block=1, text=TRICKY),
    Finished(how="concluded", description="d", labels=["l"], rounds=1, tool_calls=0, seconds=0.1),
]


def write(folder: Path) -> bytes:
    with JournalWriter(folder) as journal:
        for event in EVENTS:
            journal.append(event)
    return (folder / FILE_NAME).read_bytes()


def test_events_come_back_in_order(tmp_path: Path) -> None:
    write(tmp_path)
    events = JournalReader(tmp_path).events
    assert [event.kind for event in events] == ["block_started", "output", "finished"]
    assert isinstance(events[1], BlockOutput)
    assert events[1].text == TRICKY


@given(st.text())
def test_any_text_survives_a_line(text: str) -> None:
    line = encode_line(BlockOutput(block=1, text=text))
    assert line.count(b"\n") == 1
    event = decode_line(line)
    assert isinstance(event, BlockOutput)
    assert event.text == text


@settings(max_examples=60)
@given(share=st.floats(0, 1))
def test_a_journal_cut_at_any_byte_keeps_its_whole_lines_and_can_go_on(
    share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = write(folder)
    cut = round(share * len(whole))  # its length differs by the digits of its times
    (folder / FILE_NAME).write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    assert len(JournalReader(folder).events) == kept
    with JournalWriter(folder) as journal:
        journal.append(EVENTS[0])
    assert len(JournalReader(folder).events) == kept + 1


@pytest.mark.parametrize("at", [12, 40, -10])
def test_an_altered_line_is_an_error_that_names_file_and_line(tmp_path: Path, at: int) -> None:
    whole = bytearray(write(tmp_path))
    end_of_first = whole.index(b"\n")
    whole[at if at > 0 else end_of_first + at] ^= 1
    (tmp_path / FILE_NAME).write_bytes(whole)
    with pytest.raises(JournalError, match=r"journal\.jsonl, line 1"):
        JournalReader(tmp_path)


def test_a_line_break_that_a_fault_put_into_a_line_does_not_cut_the_journal(tmp_path: Path) -> None:
    whole = bytearray(write(tmp_path))
    whole[whole.index(b"code")] = ord("\r")
    (tmp_path / FILE_NAME).write_bytes(whole)
    with pytest.raises(JournalError, match=r"line 1"):
        JournalReader(tmp_path)


def test_a_later_format_is_refused_by_its_number(tmp_path: Path) -> None:
    whole = write(tmp_path).replace(b'{"format":2,', b'{"format":3,')
    (tmp_path / FILE_NAME).write_bytes(whole)
    with pytest.raises(JournalError, match="format 3"):
        JournalReader(tmp_path)


@pytest.mark.parametrize("line", [-1, 0])
def test_a_later_format_or_a_damaged_whole_line_is_never_cut_off(tmp_path: Path, line: int) -> None:
    write(tmp_path)
    lines = (tmp_path / FILE_NAME).read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'{"format":2,', b'{"format":3,')
    written = b"".join(lines)
    (tmp_path / FILE_NAME).write_bytes(written)
    for opened in (JournalReader, JournalWriter):
        with pytest.raises(JournalError, match="format 3"):
            opened(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == written


@pytest.mark.parametrize(
    "line",
    [
        b'{"format":[2],"length":2,"checksum":"0","event":{}}',
        b"[" * 100_000 + b',"event":{}}',
        b"noise",
        b"{}",
        b'{"a":1,"event":{}}',
        b'[1,"event":{}}',
        b'{"format":1,"event":{}}',
    ],
)
def test_a_line_that_is_none_of_ours_is_an_error(tmp_path: Path, line: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(line + b"\n")
    with pytest.raises(JournalError, match=r"journal\.jsonl, line 1"):
        JournalReader(tmp_path)


@contextmanager
def disk_with_room_for(size: int) -> Iterator[None]:
    """No file of this process can be longer: as on a full disk, a write stops in the middle of a line."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_clear_error_and_the_journal_stays_whole(tmp_path: Path) -> None:
    before = len(write(tmp_path))
    with disk_with_room_for(before + 50):
        with pytest.raises(JournalError, match=r"journal\.jsonl cannot be written"), JournalWriter(tmp_path) as journal:
            journal.append(EVENTS[0])
        with pytest.raises(JournalError, match="cannot be written"), JournalWriter(tmp_path) as journal:
            journal.add_picture(Picture(b"x" * 100_000, "image/png", 1, 1))
    assert (tmp_path / FILE_NAME).stat().st_size == before
    assert list((tmp_path / "images").iterdir()) == []
    with JournalWriter(tmp_path) as journal:
        with disk_with_room_for(before + 50), pytest.raises(JournalError):
            journal.append(EVENTS[0])
        journal.append(EVENTS[2])
    assert [event.kind for event in JournalReader(tmp_path).events][3:] == ["finished"]


def test_two_writers_of_one_journal_are_refused_and_the_first_is_named(tmp_path: Path) -> None:
    named = rf"is being written by process {os.getpid()} on host {re.escape(socket.gethostname())}; wait for it"
    with JournalWriter(tmp_path):
        with pytest.raises(JournalError, match=named) as caught:
            JournalWriter(tmp_path)
        assert caught.value.reason == LOCKED
        (tmp_path / WRITER).unlink()
        with pytest.raises(JournalError, match="is being written by another process"):
            JournalWriter(tmp_path)
    assert not (tmp_path / WRITER).exists()


def test_what_a_killed_writer_leaves_locks_nobody_out(tmp_path: Path) -> None:
    (tmp_path / WRITER).write_text("1 elsewhere\n")
    with JournalWriter(tmp_path) as journal:
        journal.append(EVENTS[0])
    assert len(JournalReader(tmp_path).events) == 1


def test_a_full_disk_has_a_reason_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with JournalWriter(tmp_path) as journal:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(
                JournalError, match="No space left on device; make room and run the same again"
            ) as caught:
                journal.append(EVENTS[0], sync=True)
        assert caught.value.reason == DISK_FULL


def test_an_unwritable_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="--out"):
        JournalWriter(tmp_path / "file" / "unit")


def test_pictures_are_stored_once_and_checked(tmp_path: Path) -> None:
    picture = Picture(b"bytes", "image/png", 1, 1)
    with JournalWriter(tmp_path) as journal:
        assert journal.add_picture(picture) == journal.add_picture(picture)
    reader = JournalReader(tmp_path)
    assert reader.picture(picture.sha256, "image/png") == b"bytes"
    picture_path(tmp_path, picture.sha256, "image/png").write_bytes(b"other")
    with pytest.raises(JournalError, match="SHA-256"):
        reader.picture(picture.sha256, "image/png")


def test_a_missing_journal_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no readable journal"):
        JournalReader(tmp_path)


def test_pictures_reach_the_disk_before_the_lines_that_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.partition(".")[0])
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    picture = Picture(b"bytes", "image/png", 1, 1)
    with JournalWriter(tmp_path) as journal:
        journal.add_picture(picture)
        assert synced == [picture.sha256]
        journal.append(EVENTS[0], sync=True)
        assert synced == [picture.sha256, "images", "journal"]
        journal.append(EVENTS[1], sync=True)
    assert synced[3:] == ["journal"] * 2


async def test_what_is_put_is_on_the_disk_and_the_loop_went_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    threads: set[int] = set()

    def watched(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name.partition(".")[0])
        threads.add(threading.get_ident())

    monkeypatch.setattr(os, "fsync", watched)
    pictures = [Picture(bytes([index]), "image/png", 1, 1) for index in range(3)]
    with JournalWriter(tmp_path) as journal:
        await journal.store([*pictures, pictures[0]])
        assert sorted((tmp_path / "images").iterdir()) == sorted(
            picture_path(tmp_path, picture.sha256, "image/png") for picture in pictures
        )
        await journal.put(EVENTS[0])
        assert synced == [*(picture.sha256 for picture in pictures), "images", "journal"]
        assert threading.get_ident() not in threads
        await journal.put(EVENTS[1])
        assert synced[5:] == ["journal"]
    assert [event.kind for event in JournalReader(tmp_path).events] == ["block_started", "output"]


async def test_the_same_picture_may_be_stored_by_several_at_once(tmp_path: Path) -> None:
    picture = Picture(b"x" * 1_000_000, "image/png", 1, 1)
    with JournalWriter(tmp_path) as journal:
        await asyncio.gather(*(journal.store([picture]) for _ in range(16)))
    assert [path.name for path in (tmp_path / "images").iterdir()] == [f"{picture.sha256}.png"]


async def test_an_interruption_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, goes_on = threading.Event(), threading.Event()
    done: list[int] = []

    def slow(descriptor: int) -> None:
        begun.set()
        goes_on.wait()
        done.append(descriptor)

    with JournalWriter(tmp_path) as journal:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", slow)
            task = asyncio.create_task(journal.put(EVENTS[0]))
            await asyncio.to_thread(begun.wait)
            task.cancel()
            await asyncio.sleep(0)
            assert not task.done()
            goes_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert done


async def test_a_full_disk_is_told_by_what_is_put_and_stored(tmp_path: Path) -> None:
    with JournalWriter(tmp_path) as journal, disk_with_room_for(50):
        with pytest.raises(JournalError, match="cannot be written"):
            await journal.put(EVENTS[0])
        with pytest.raises(JournalError, match="cannot be written"):
            await journal.store([Picture(b"x" * 100_000, "image/png", 1, 1)])
    assert list((tmp_path / "images").iterdir()) == []


async def test_what_is_paid_for_waits_for_room_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maia.orchestrator.journal.ROOM_PAUSE_S", 0.0)
    refusals = [OSError(errno.ENOSPC, "No space left on device")] * 2
    with JournalWriter(tmp_path) as journal:
        write, heard = journal._write, list[Event]()
        journal.listeners.append(heard.append)

        def refuse_at_first(line: bytes) -> None:
            if refusals:
                raise refusals.pop()
            write(line)

        monkeypatch.setattr(journal, "_write", refuse_at_first)
        await journal.put(EVENTS[0], patience_s=60)
        assert len(heard) == 1
        refusals.append(OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(JournalError, match="make room"):
            await journal.put(EVENTS[1])
    assert [event.kind for event in JournalReader(tmp_path).events] == ["block_started"]
