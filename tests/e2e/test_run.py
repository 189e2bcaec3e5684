"""`maia run`: from a command to a table and a report; and what happens when it is cut short."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from maia.cli.config import ADDRESSES
from maia.orchestrator.events import BackboneReply, Finished, Resumed, Stopped, UserMessage
from maia.orchestrator.journal import JournalReader, JournalWriter

if TYPE_CHECKING:
    from tests.e2e.conftest import Maia

UNITS = ("--model", "scene-neurons", "--units", "mono=10:or=0")
Left = Callable[[], Sequence[str]]


def test_a_run_ends_with_a_table_a_report_and_no_process_left(maia: Maia, no_processes_left: Left) -> None:
    ended = maia("run", "--up", *UNITS)
    assert ended.code == 0, ended.err
    assert "mono:10" in ended.out
    assert "circle or star" in ended.out
    assert f"Report: {maia.folder / 'results' / 'index.html'}" in ended.out
    assert "round 1 of 25" in ended.err
    folder = maia.folder / "results" / "scripted" / "scene-neurons" / "mono" / "10"
    assert isinstance(JournalReader(folder).events[-1], Finished)
    assert (folder / "experiment.html").stat().st_size > 10_000
    assert no_processes_left() == []

    again = maia("run", "--up", *UNITS)
    assert again.code == 0, again.err
    assert "2 of 2 units finished in results already" in again.err
    assert "--fresh" in again.err
    assert "opening the sandbox" not in again.err

    (maia.folder / "results" / "index.html").unlink()
    rebuilt = maia("report", "results")
    assert rebuilt.code == 0, rebuilt.err
    assert (maia.folder / "results" / "index.html").is_file()
    assert "or:0" in rebuilt.out


def wait_for(process: subprocess.Popen[str], said: str) -> None:
    """Read standard error until it says something."""
    assert process.stderr is not None
    for line in process.stderr:
        if said in line:
            return
    raise AssertionError(f"{said!r} was never said")


def test_ctrl_c_once_pauses_after_the_round(maia: Maia, no_processes_left: Left) -> None:
    with maia.start("run", "--up", *UNITS, "--jobs", "1") as process:
        wait_for(process, "round 2 of 25")
        # The whole group, as the terminal does.
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Ctrl-C again stops at once" in err
    assert err.endswith("\ninterrupted\n")
    assert "Traceback" not in err
    assert "1 unit not begun" in out
    folder = maia.folder / "results" / "scripted" / "scene-neurons" / "mono" / "10"
    reader = JournalReader(folder)
    assert reader.whole_bytes == (folder / "journal.jsonl").stat().st_size
    said, last = reader.events[-2:]
    assert isinstance(said, UserMessage)  # the results of a whole round
    assert isinstance(last, Stopped)
    assert (last.why, last.reason) == ("paused", "PAUSED")
    assert (folder / "experiment.html").exists()
    assert not (folder / "label.txt").exists()
    assert no_processes_left() == []
    replies = sum(isinstance(event, BackboneReply) for event in reader.events)

    again = maia("run", "--up", *UNITS)
    assert again.code == 0, again.err
    events = JournalReader(folder).events
    assert isinstance(events[-1], Finished)
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert sum(isinstance(event, BackboneReply) for event in events[: events.index(resumed)]) == replies
    assert not (maia.folder / "results" / ".replaced").exists()


def test_ctrl_c_twice_stops_at_once(maia: Maia, no_processes_left: Left) -> None:
    with maia.start("run", "--up", *UNITS) as process:
        wait_for(process, "round 2 of 25")
        os.killpg(process.pid, signal.SIGINT)
        wait_for(process, "Ctrl-C again stops at once")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith("interrupted\n")
    assert "Traceback" not in err
    assert "To go on with what is not finished" in out
    ends = [
        JournalReader(maia.folder / "results" / "scripted" / "scene-neurons" / layer / index).events[-1]
        for layer, index in (("mono", "10"), ("or", "0"))
    ]
    # One of the two may just have come to the end of its round.
    assert all(isinstance(end, Stopped) and end.why in ("interrupted", "paused") for end in ends)
    assert no_processes_left() == []


def test_sigterm_stops_in_order(maia: Maia, no_processes_left: Left) -> None:
    with maia.start("run", "--up", *UNITS, "--jobs", "1") as process:
        wait_for(process, "round 1 of 25")
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "mono:10: interrupted" in out
    folder = maia.folder / "results" / "scripted" / "scene-neurons" / "mono" / "10"
    last = JournalReader(folder).events[-1]
    assert isinstance(last, Stopped)
    assert last.why == "interrupted"
    assert no_processes_left() == []


def test_commands_with_a_chunk_each_share_the_units(maia: Maia) -> None:
    chunk = ("run", "--up", "--model", "scene-neurons", "--units", "mono=10:or=0,0:mono=10", "--total-chunks", "2")
    shown = [maia(*chunk, "--chunk-id", index) for index in ("0", "1")]
    assert [ended.code for ended in shown] == [0, 0], shown[0].err + shown[1].err
    assert "mono:10" in shown[0].out
    assert "or:0" not in shown[0].out
    assert "or:0" in shown[1].out
    assert "mono:10" not in shown[1].out
    wrong = maia(*chunk, "--chunk-id", "2")
    assert (wrong.code, wrong.err) == (2, "error: --chunk-id is 2; of 2 chunks it must be 0 to 1\n")


def test_a_unit_that_another_run_is_at_is_left_alone_and_the_others_are_done(maia: Maia) -> None:
    folder = maia.folder / "results" / "scripted" / "scene-neurons" / "mono" / "10"
    with JournalWriter(folder):
        ended = maia("run", "--up", *UNITS)
    assert ended.code == 3, ended.err
    assert "mono:10 is left alone" in ended.err
    assert f"is being written by process {os.getpid()} on host {socket.gethostname()}" in ended.out
    assert "circle or star" in ended.out


def test_a_kill_leaves_a_readable_journal_and_no_process(maia: Maia, no_processes_left: Left) -> None:
    with maia.start("run", "--up", *UNITS) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "round 2 of 25" in line:
                break
        process.kill()
        process.communicate()
    folder = maia.folder / "results" / "scripted" / "scene-neurons" / "mono" / "10"
    assert len(JournalReader(folder).events) > 3
    assert no_processes_left() == []


def test_servers_that_are_down_are_named_with_what_to_do(maia: Maia) -> None:
    with socket.socket() as bound:  # bound and not listening: nobody can answer there
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        flags = [f"--{name}-address={address}" for name in ADDRESSES]
        ended = maia("run", *UNITS, *flags)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert f"subject ({address})" in ended.err
    assert "`maia up`" in ended.err
    assert "--up" in ended.err


def test_names_that_a_server_knows_are_named(maia: Maia) -> None:
    for flags, said in (
        (("--model", "resnet"), "scene-neurons"),
        (("--model", "scene-neurons", "--units", "multi=1"), "valid: mono, or, and"),
        (("--model", "scene-neurons", "--units", "mono=900"), "units 0 to"),
    ):
        ended = maia("run", "--up", "--units", "mono=1", *flags)
        assert ended.code == 2, ended.err
        last = ended.err.splitlines()[-1]
        assert last.startswith("error: ")
        assert said in last


def test_units_without_a_finding_are_told_with_the_reason(maia: Maia) -> None:
    unit = ("--model", "scene-neurons", "--units", "mono=10")
    cut = maia("run", "--up", *unit, "--max-rounds", "1")
    assert cut.code == 3, cut.err
    assert "no conclusion" in cut.out
    (command,) = [line.strip() for line in cut.out.splitlines() if " run --" in line]
    assert command.endswith(" run --model scene-neurons --units mono=10 --max-rounds 2 --fresh --up")
    journal = maia.folder / "results" / "scripted" / "scene-neurons" / "mono" / "10"

    # With 25 rounds the replay asks for more replies than the journal holds.
    ended = maia("run", "--up", *unit, "--agent", f"replay:{journal}", "--out", "replayed")
    assert ended.code == 3, ended.err
    assert "1 unit without a finding" in ended.out
    assert "REPLAY_EXHAUSTED" in ended.out
    (command,) = [line.strip() for line in ended.out.splitlines() if " run --" in line]
    flags = shlex.split(command[command.index(" run ") :])
    assert flags == ["run", *unit, "--agent", f"replay:{journal}", "--out", "replayed", "--up"]
    assert (maia.folder / "replayed" / "index.html").is_file()
