"""The journal: what was written comes back, and what was torn or altered is noticed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.orchestrator.conversation import Picture
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import BlockOutput, BlockStarted, Event, Finished
from maia.orchestrator.journal import FILE_NAME, JournalReader, JournalWriter, decode_line, encode_line, picture_path

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
@given(data=st.data())
def test_a_journal_cut_at_any_byte_keeps_its_whole_lines_and_can_go_on(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = write(folder)
    cut = data.draw(st.integers(0, len(whole)))
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


def test_a_later_format_is_refused_by_its_number(tmp_path: Path) -> None:
    whole = write(tmp_path).replace(b'{"format":1,', b'{"format":2,')
    (tmp_path / FILE_NAME).write_bytes(whole)
    with pytest.raises(JournalError, match="format 2"):
        JournalReader(tmp_path)


def test_two_writers_of_one_journal_are_refused(tmp_path: Path) -> None:
    with JournalWriter(tmp_path), pytest.raises(JournalError, match="another run"):
        JournalWriter(tmp_path)


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
