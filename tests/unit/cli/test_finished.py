"""What becomes of the folders of earlier runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from maia.cli.finished import REPLACED, earlier_result, set_aside
from maia.cli.results import canonical, truth_of
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import Event, Finished, RunStarted, Stopped, UnitName
from maia.orchestrator.journal import FILE_NAME, JournalReader, JournalWriter
from maia.orchestrator.report import unit_folders, write_unit
from maia.orchestrator.tasks import Task, load_task

UNIT = UnitName("scene-neurons", "mono", 3)
AGENT, TASK = "a", load_task("neuron_description")
STARTED = RunStarted(
    unit=UNIT,
    agent=AGENT,
    task=TASK.name,
    seed=0,
    started_at="",
    versions={},
    servers={},
    sandbox={},
    config={},
    system_prompt="",
)
FINISHED = Finished(how="concluded", description="d", labels=["red"], rounds=1, tool_calls=1, seconds=1.0)
STOPPED = Stopped(why="interrupted", reason="INTERRUPTED", message="")


def journal(folder: Path, *events: Event) -> Path:
    with JournalWriter(folder) as writer:
        for event in events:
            writer.append(event)
    return folder


def test_only_a_run_that_came_to_its_end_is_kept(tmp_path: Path) -> None:
    assert earlier_result(tmp_path / "none", UNIT, AGENT, TASK) is None
    assert earlier_result(journal(tmp_path / "stopped", STARTED, STOPPED), UNIT, AGENT, TASK) is None
    assert earlier_result(journal(tmp_path / "cut", STARTED), UNIT, AGENT, TASK) is None
    assert earlier_result(journal(tmp_path / "empty"), UNIT, AGENT, TASK) is None
    found = earlier_result(journal(tmp_path / "done", STARTED, FINISHED), UNIT, AGENT, TASK)
    assert found is not None
    assert found.labels == ("red",)
    assert found.truth is not None


@pytest.mark.parametrize(
    "other",
    [
        (UnitName("scene-neurons", "mono", 4), AGENT, TASK),
        (UNIT, "b", TASK),
        (UNIT, AGENT, load_task("class_bias")),
    ],
)
def test_what_another_run_found_is_not_this_ones(tmp_path: Path, other: tuple[UnitName, str, Task]) -> None:
    folder = journal(tmp_path / "done", STARTED, FINISHED)
    assert earlier_result(folder, *other) is None


def test_a_derived_result_answers_for_a_journal_that_has_not_changed(tmp_path: Path) -> None:
    for name, end, kept in (("done", FINISHED, True), ("stopped", STOPPED, False)):
        folder = journal(tmp_path / name, STARTED, end)
        write_unit(folder, truth_of(UNIT), canonical)
        assert (earlier_result(folder, UNIT, AGENT, TASK) is not None) is kept
    with (tmp_path / "done" / FILE_NAME).open("ab") as file:
        file.write(b"damaged\n")
    assert earlier_result(tmp_path / "done", UNIT, AGENT, TASK) is None


def test_what_makes_room_is_kept_and_reports_leave_it_out(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "m" / "l" / "3"
    assert set_aside(tmp_path, folder) is None
    moved = []
    for _ in range(2):
        journal(folder, STARTED, STOPPED)
        moved.append(set_aside(tmp_path, folder))
    assert moved == [tmp_path / REPLACED / "a" / "m" / "l" / f"3-{number}" for number in (1, 2)]
    assert JournalReader(tmp_path / REPLACED / "a" / "m" / "l" / "3-1").events[0].kind == "run_started"
    assert unit_folders(tmp_path) == []


def test_a_damaged_journal_makes_room_too(tmp_path: Path) -> None:
    folder = journal(tmp_path / "a" / "3", STARTED)
    (folder / FILE_NAME).write_bytes(b"damaged\n")
    kept = set_aside(tmp_path, folder)
    assert kept is not None
    assert (kept / FILE_NAME).read_bytes() == b"damaged\n"


def test_a_file_where_room_is_to_be_made_is_told(tmp_path: Path) -> None:
    folder = journal(tmp_path / "a" / "3", STARTED)
    (tmp_path / REPLACED).write_text("")
    with pytest.raises(JournalError, match=r"\.replaced.*cannot be written"):
        set_aside(tmp_path, folder)
    assert (folder / FILE_NAME).exists()


def test_a_folder_that_another_process_writes_stays(tmp_path: Path) -> None:
    folder = tmp_path / "3"
    with JournalWriter(folder), pytest.raises(JournalError):
        set_aside(tmp_path, folder)
    assert (folder / FILE_NAME).exists()
