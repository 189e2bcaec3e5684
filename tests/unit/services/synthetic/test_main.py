"""The program: flags, progress, and errors in one line."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.services.subject.photograph_neurons.planted import PlantedDetector
from tests.unit.services.synthetic.photographs import scores, write_pictures

from maia.services._runtime.program import QUIET_THREADS
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.photograph_neurons.options import PhotographOptions
from maia.services.synthetic import __main__ as program

ASKED: list[tuple[PhotographOptions, NetworkOptions]] = []


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def load(options: PhotographOptions, network: NetworkOptions) -> PlantedDetector:
        ASKED.append((options, network))
        return PlantedDetector()

    monkeypatch.setattr(program, "load_detector", load)
    # The tests' own process keeps its handlers, logs and memory.
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(program, "configure_logs", lambda **_: None)
    monkeypatch.setattr(program, "keep_freed_memory", lambda: None)
    monkeypatch.setenv(*QUIET_THREADS)
    yield
    ASKED.clear()


def run(tmp_path: Path, *flags: str, count: int = 15) -> int:
    write_pictures(tmp_path / "pictures", scores(count, "dog"), scale=1)
    return program.main(
        f"create --mode mono --labels dog --dataset {tmp_path}/pictures --out {tmp_path}/out --size 56".split()
        + list(flags)
    )


def test_it_tells_what_it_does_as_lines_of_json(tmp_path: Path, capsys: Any) -> None:
    flags = ("--json", "--detector", "mine", "--box-threshold", "0.5", "--device", "cpu", "--offline")
    assert run(tmp_path, *flags) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0] == {"doing": "unit 1 of 1", "done": 1, "total": 15}
    assert told[-1]["fewest_exemplars"] == 15
    assert told[-1]["anew"]
    ((options, network),) = ASKED
    assert (options.detector, options.box_threshold, options.text_threshold) == ("mine", 0.5, 0.3)
    assert (network.device, network.offline) == ("cpu", True)
    assert (tmp_path / "out" / "synthetic_neurons" / "mono" / "images.npy").exists()


def test_for_people_it_counts_on_one_line(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(tmp_path) == 0
    assert "\runit 1 of 1: 15 of 15 pictures" in capsys.readouterr().err


def test_into_a_file_few_plain_lines_are_written(tmp_path: Path, capsys: Any) -> None:
    assert run(tmp_path) == 0
    told = capsys.readouterr().err
    assert "\r" not in told
    assert [line for line in told.splitlines() if line.startswith("unit")] == [
        "unit 1 of 1: 1 of 15 pictures",
        "unit 1 of 1: 15 of 15 pictures",
    ]


def test_what_goes_wrong_is_said_in_one_line(tmp_path: Path, capsys: Any) -> None:
    assert run(tmp_path, "--json", count=3) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: 1 of 1 units have fewer than 15 pictures that come into question: 'dog' 3;")
    assert told.err.count("\n") == 1
    assert ASKED == []


@pytest.mark.parametrize("flags", [("--box-threshold", "1.5"), ("--nonsense", "1"), ("--precision", "float8")])
def test_a_wrong_setting_is_refused(tmp_path: Path, capsys: Any, flags: tuple[str, ...]) -> None:
    try:
        code: Any = run(tmp_path, *flags)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert flags[0].strip("-").replace("-", "_") in capsys.readouterr().err.replace("-", "_")
