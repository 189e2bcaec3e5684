"""The files beside a journal: what they hold, when they are written again, and that a failure is never a finding."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maia.orchestrator.answers import Answer, Bias, Verdict, Words, answer_from_json
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import UnitName
from maia.orchestrator.journal import FILE_NAME
from maia.orchestrator.report import UnitResult, rebuild, unit_folders, write_index, write_unit
from maia.orchestrator.report.unit import RESULT

MakeRun = Callable[..., Any]
DERIVED = {"experiment.html", "history.json", "result.json"}


def nobody_knows(_: UnitName) -> None:
    return None


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {FILE_NAME, "images"}


def test_a_finding_has_its_files(tmp_path: Path, investigated: MakeRun) -> None:
    investigated(tmp_path).conclude("Circles.", ["circle", "round"])
    result = write_unit(tmp_path, "circle")
    assert files(tmp_path) == DERIVED | {"description.txt", "label.txt"}
    assert (tmp_path / "description.txt").read_text() == "Circles.\n"
    assert (tmp_path / "label.txt").read_text() == "circle\nround\n"
    stored = json.loads((tmp_path / RESULT).read_text())
    assert stored["unit"] == {"model": "scenes-cnn", "layer": "layer3", "index": 12}
    assert (stored["labels"], stored["matched"], stored["status"]) == (["circle", "round"], True, "concluded")
    assert result.matched is True


@pytest.mark.parametrize(
    ("answer", "label", "shown"),
    [
        (Bias("Low outdoors.", ("outdoors", "at night")), "outdoors\nat night\n", "Contexts of low scores</dt>"),
        (Bias("None was found."), None, "None was found.</h1>"),
        (Verdict("SPURIOUS", "Grass drives it."), "SPURIOUS\n", "Verdict</dt>"),
        (Words("To collars."), None, "To collars.</h1>"),
    ],
)
def test_an_answer_of_another_form_has_its_files(
    tmp_path: Path, new_run: MakeRun, answer: Answer, label: str | None, shown: str
) -> None:
    run = new_run(tmp_path / "a/m/l/1", UnitName(model="m", layer="l", index=1), task="own", question="Ties <b>?")
    (run.folder / "label.txt").write_text("of an earlier run\n")
    run.answer(answer)
    [result] = rebuild(tmp_path, nobody_knows)
    assert files(run.folder) == DERIVED | {"description.txt"} | ({"label.txt"} if label else set())
    assert (run.folder / "description.txt").read_text() == f"{answer.description}\n"
    assert label is None or (run.folder / "label.txt").read_text() == label
    assert answer_from_json(json.loads((run.folder / RESULT).read_text())["answer"]) == answer
    page, index = (run.folder / "experiment.html").read_text(), (tmp_path / "index.html").read_text()
    assert shown in page
    assert answer.description in index
    assert page.count("Ties &lt;b&gt;?") == 1
    assert index.count("Ties &lt;b&gt;?") == 1
    assert rebuild(tmp_path, nobody_knows) == [result]


def test_a_failure_has_no_finding_even_where_one_stood(tmp_path: Path, investigated: MakeRun) -> None:
    investigated(tmp_path).stop()
    (tmp_path / "label.txt").write_text("of an earlier run\n")
    (tmp_path / "description.txt").write_text("of an earlier run\n")
    write_unit(tmp_path, "circle")
    assert files(tmp_path) == DERIVED
    page = (tmp_path / "experiment.html").read_text()
    assert "No finding" in page
    assert "the generation server at 127.0.0.1:50052 is down" in page
    assert "✓" not in page


@pytest.mark.parametrize(("agent", "said"), [("scripted", True), ("claude", False)])
def test_a_page_says_when_no_model_found_it(tmp_path: Path, investigated: MakeRun, agent: str, *, said: bool) -> None:
    investigated(tmp_path, agent=agent).conclude("d", ["l"])
    write_unit(tmp_path, None)
    assert ("no language model" in (tmp_path / "experiment.html").read_text()) is said


def test_the_history_names_pictures_that_exist(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(tmp_path, UnitName(model="m", layer="l", index=1), system="Be exact.")
    run.reply("```python\nx()\n```")
    run.start("x()\n")
    run.show(run.image({}, "circle"))
    run.say(1, "results", run.shown[-1])
    run.give_up()
    write_unit(tmp_path, None)
    history = json.loads((tmp_path / "history.json").read_text())
    assert [message["role"] for message in history] == ["system", "user", "assistant", "user"]
    assert history[0]["content"] == [{"type": "text", "text": "Be exact."}]
    (picture,) = history[3]["content"]
    assert (tmp_path / picture["path"]).is_file()


def test_only_what_changed_is_written_again(tmp_path: Path, investigated: MakeRun) -> None:
    folders = [tmp_path / "scripted" / "m" / "l" / str(number) for number in (2, 10)]
    for folder in folders:
        investigated(folder).conclude("d", ["l"])
    seen: list[tuple[int, int, Path]] = []
    first = rebuild(tmp_path, nobody_knows, lambda done, total, result: seen.append((done, total, result.folder)))
    assert seen == [(1, 2, folders[0]), (2, 2, folders[1])]
    before = [(folder / RESULT).stat().st_ino for folder in folders]
    assert rebuild(tmp_path, nobody_knows) == first
    assert [(folder / RESULT).stat().st_ino for folder in folders] == before
    (folders[1] / "experiment.html").unlink()
    again = rebuild(tmp_path, nobody_knows)
    assert again == first
    assert (folders[0] / RESULT).stat().st_ino == before[0]
    assert (folders[1] / "experiment.html").is_file()


@pytest.mark.parametrize("stored", ["", "[]", "{}", '{"format": 1}', "\x00", '{"format": 1, "journal_sha256": 3}'])
def test_a_spoilt_result_is_written_again(tmp_path: Path, investigated: MakeRun, stored: str) -> None:
    folder = tmp_path / "a" / "m" / "l" / "1"
    investigated(folder).stop()
    expected = rebuild(tmp_path, nobody_knows)
    (folder / RESULT).write_text(stored)
    assert rebuild(tmp_path, nobody_knows) == expected


def test_a_truth_that_became_known_is_told(tmp_path: Path, investigated: MakeRun) -> None:
    folder = tmp_path / "scripted" / "scenes-cnn" / "layer3" / "12"
    investigated(folder).conclude("d", ["ring"])
    rebuild(tmp_path, nobody_knows)
    asked: list[UnitName] = []

    def truth_of(unit: UnitName) -> str:
        asked.append(unit)
        return "circle"

    (result,) = rebuild(tmp_path, truth_of)
    assert result.matched is False
    assert set(asked) == {UnitName(model="scenes-cnn", layer="layer3", index=12)}
    assert "differs" in (folder / "experiment.html").read_text()


def test_a_run_that_went_on_is_told_anew(tmp_path: Path, new_run: MakeRun) -> None:
    folder = tmp_path / "a" / "m" / "l" / "1"
    run = new_run(folder, UnitName(model="m", layer="l", index=1))
    assert [result.status for result in rebuild(tmp_path, nobody_knows)] == ["unfinished"]
    run.conclude("d", ["l"])
    assert [result.status for result in rebuild(tmp_path, nobody_knows)] == ["concluded"]


def test_one_damaged_journal_hides_no_other(tmp_path: Path, investigated: MakeRun) -> None:
    damaged, sound = (tmp_path / "org" / "agent" / "m" / "l" / number for number in ("1", "2"))
    investigated(sound).conclude("d", ["l"])
    damaged.mkdir()
    (damaged / FILE_NAME).write_bytes(b"damage\ndamage\n")
    first, second = rebuild(tmp_path, nobody_knows)
    assert (first.status, first.agent, str(first.unit)) == ("unreadable", "org/agent", "m l:1")
    assert "line 1" in first.reason
    assert second.status == "concluded"
    assert files(damaged) == set()
    assert "line 1" in (tmp_path / "index.html").read_text()


def test_a_damaged_journal_in_a_strange_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / FILE_NAME).write_bytes(b"damage\ndamage\n")
    with pytest.raises(JournalError, match="is not named"):
        rebuild(tmp_path, nobody_knows)


def test_folders_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("a/m/l/10", "a/m/l/9", "a/m/k/11", "a/m/l/9/images"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / FILE_NAME).touch()
    assert [folder.relative_to(tmp_path).as_posix() for folder in unit_folders(tmp_path)] == [
        "a/m/k/11",
        "a/m/l/9",
        "a/m/l/10",
    ]


def test_an_index_over_nothing_says_so(tmp_path: Path) -> None:
    assert rebuild(tmp_path, nobody_knows) == []
    assert "No journals here yet" in (tmp_path / "index.html").read_text()


def test_the_index_counts_findings_and_matches(tmp_path: Path) -> None:
    unit = UnitName(model="m", layer="l", index=1)
    base = UnitResult(folder=tmp_path / "1", unit=unit, agent="a", status="concluded", truth="x")
    rows = [
        dataclasses.replace(base, labels=("x",), matched=True),
        dataclasses.replace(base, labels=("y",), matched=False),
        dataclasses.replace(base, status="paused", reason="the server is down"),
    ]
    page = write_index(tmp_path, rows).read_text()
    assert "1 of 2" in page
    assert page.count("✓ match") == page.count("✗ differs") == 1


def test_a_full_disk_or_a_foreign_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no readable journal at .*nowhere"):
        write_unit(tmp_path / "nowhere", None)
    with pytest.raises(JournalError, match=r"index\.html cannot be written"):
        write_index(tmp_path / "nowhere", [])
