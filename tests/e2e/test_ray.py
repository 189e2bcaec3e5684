"""`maia run --engine ray` on a cluster of this machine: workers that die, a pause, and another machine that goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.bench.processes import descendants, process_name
from tests.e2e.test_run import UNITS, wait_for

from maia.orchestrator.events import BackboneReply, Event, Finished, Resumed, Stopped
from maia.orchestrator.journal import JournalReader

if TYPE_CHECKING:
    from tests.e2e.conftest import Maia

pytest.importorskip("ray", reason="the extra ray is not installed")

ON_RAY = ("run", "--up", *UNITS, "--engine", "ray")
Left = Callable[[], Sequence[str]]


def journal(out: Path, layer: str, index: str) -> Sequence[Event]:
    return JournalReader(out / "scripted" / "scene-neurons" / layer / index).events


def workers(pid: int) -> list[int]:
    """Processes that investigate a unit."""
    return [child for child in descendants(pid) if process_name(child).startswith("ray::run_unit")]


def test_a_worker_that_dies_is_replaced_and_its_unit_goes_on(maia: Maia, no_processes_left: Left) -> None:
    with maia.start("run", "--up", "--model", "scene-neurons", "--units", "mono=10", "--engine", "ray") as process:
        wait_for(process, "round 2 of 25")
        (killed,) = workers(process.pid)
        os.kill(killed, signal.SIGKILL)
        out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert "circle" in out
    assert "Traceback" not in err
    assert "fork" not in err
    events = journal(maia.folder / "results", "mono", "10")
    assert isinstance(events[-1], Finished)
    (resumed,) = [event for event in events if isinstance(event, Resumed)]
    assert resumed.round >= 1  # a reply was there, and was not asked for again
    numbers = [event.round for event in events if isinstance(event, BackboneReply)]
    assert numbers == sorted(set(numbers))
    assert no_processes_left() == []


def test_a_pause_reaches_the_workers_and_another_machine_goes_on(maia: Maia, no_processes_left: Left) -> None:
    store = ("--journal-store", f"file://{maia.folder}/store")
    with maia.start(*ON_RAY, *store, "--jobs", "1") as process:
        wait_for(process, "round 1 of 25")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=180)
    assert process.returncode == 130, err
    assert "1 unit not begun" in out
    assert "Traceback" not in err
    last = journal(maia.folder / "results", "mono", "10")[-1]
    assert isinstance(last, Stopped)
    assert (last.why, last.reason) == ("paused", "PAUSED")
    assert no_processes_left() == []

    elsewhere = maia("run", "--up", *UNITS, *store, "--out", "elsewhere")
    assert elsewhere.code == 0, elsewhere.err
    resumed = [event.kind for event in journal(maia.folder / "elsewhere", "mono", "10")].count("resumed")
    assert resumed == 1

    back = maia("run", "--up", *UNITS, *store)
    assert back.code == 0, back.err
    assert "2 of 2 units finished in results already" in back.err
