"""`python -m maia.services.building`: killed, stopped, left alone by its parent, and told what cannot be."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image
from tests.unit.services.building.networks import SLOWNESS
from tests.unit.services.building.planted import files_of

from maia.services.exemplars.store import ExemplarStore

NETWORKS = "python:tests.unit.services.building.networks"
COUNT = 40


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of noise."""
    folder = noise(tmp_path_factory.mktemp("data") / "noise", COUNT)
    (folder / "0011.png").write_bytes(b"no picture")
    return folder


def noise(folder: Path, count: int) -> Path:
    """Make a folder of small pictures."""
    folder.mkdir()
    random_ = np.random.default_rng(4)
    for number in range(count):
        Image.fromarray(random_.integers(0, 256, (20, 24, 3), np.uint8)).save(folder / f"{number:04}.png")
    return folder


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "maia.services.building", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, facts and errors."""
    with process:  # `communicate` would close its standard input, which ends it
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    return process.returncode, [json.loads(line) for line in out.splitlines()], err


def flags(pictures: Path, store: Path, network: str = "slow") -> Sequence[object]:
    made = ("build", "--model", f"{NETWORKS}:{network}", "--dataset", pictures, "--store", store, "--json")
    return (*made, "--batch", 4, "--top", 3, "--samples", 7, "--device", "cpu", "--end-with-stdin")


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The set of a pass that nobody disturbed."""
    store = tmp_path_factory.mktemp("undisturbed")
    code, facts, err = ended(start(*flags(pictures, store)))
    assert (code, err) == (0, "")
    assert [fact["done"] for fact in facts if fact.get("doing") == "measuring"] == list(range(4, COUNT + 1, 4))
    assert facts[-1]["built"]
    assert facts[-1]["anew"]
    assert [one["title"] for one in facts[-1]["skipped"]] == ["0011.png"]
    return files_of(store / "sets")


def test_a_builder_that_is_killed_again_and_again_ends_with_the_same_set(
    pictures: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    chance = random.Random(8)
    kills = 0
    while not list((tmp_path / "sets").glob("*/[!.]*")):
        process = start(*flags(pictures, tmp_path), "--checkpoint-s", 0, **{SLOWNESS: "0.04"})
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("doing") in {"measuring", "gathering"}:
                time.sleep(chance.uniform(0, 0.15))
                break
        process.kill()
        code, _, err = ended(process)
        assert code in (0, -signal.SIGKILL), err
        kills += code != 0
    assert kills >= 2
    code, _, err = ended(start(*flags(pictures, tmp_path)))
    assert code == 0, err
    assert files_of(tmp_path / "sets") == whole
    assert not list(tmp_path.glob("passes/*"))


def began(process: subprocess.Popen[str]) -> None:
    """Wait until the pass has taken in a batch."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("doing") == "measuring":
            return
    raise AssertionError(process.communicate()[1])


def close(stream: IO[str] | None) -> None:
    assert stream is not None
    stream.close()


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "closed stdin"])
def test_a_builder_that_is_stopped_saves_what_is_done(
    how: str, pictures: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    process = start(*flags(pictures, tmp_path), **{SLOWNESS: "0.2"})
    began(process)
    if how == "closed stdin":
        close(process.stdin)
    else:
        process.send_signal(getattr(signal, how))
    code, _, err = ended(process)
    assert code == 1
    assert err.startswith("error: stopped after ")
    assert err.endswith(f" of {COUNT} pictures; the same command goes on from there\n")
    stopped_after = int(err.split()[3])
    code, facts, err = ended(start(*flags(pictures, tmp_path)))
    assert (code, err) == (0, "")
    assert next(fact for fact in facts if fact.get("doing") == "measuring")["done"] == stopped_after + 4
    assert files_of(tmp_path / "sets") == whole


def test_a_second_signal_ends_it_at_once(pictures: Path, tmp_path: Path) -> None:
    process = start(*flags(pictures, tmp_path), **{SLOWNESS: "2"})
    began(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    code, _, err = ended(process)
    assert code in (130, -signal.SIGINT)
    assert "Traceback" not in err


def test_a_builder_whose_listener_was_killed_saves_what_is_done(
    pictures: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    process = start(*flags(pictures, tmp_path), **{SLOWNESS: "0.2"})
    began(process)
    close(process.stdout)  # first, so that telling fails before the builder knows that its input is closed
    assert process.wait(60) == 1
    assert process.stderr is not None
    assert process.stderr.read().startswith("error: stopped after ")
    for stream in (process.stdin, process.stderr):
        close(stream)
    code, facts, err = ended(start(*flags(pictures, tmp_path)))
    assert (code, err) == (0, "")
    assert next(fact for fact in facts if fact.get("doing") == "measuring")["done"] > 4
    assert files_of(tmp_path / "sets") == whole


def test_a_builder_that_is_stopped_while_it_gathers_leaves_no_set_and_goes_on_from_there(tmp_path: Path) -> None:
    asked = (*flags(noise(tmp_path / "noise", 400), tmp_path / "store", "tiny"), "--samples", 400)
    process = start(*asked)
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)  # so that it waits for its reader while it gathers
    for line in process.stdout:
        if json.loads(line).get("doing") == "gathering":
            break
    process.terminate()
    code, _, err = ended(process)
    assert (code, err) == (1, "error: stopped while gathering pictures; the same command goes on from there\n")
    assert files_of(tmp_path / "store" / "sets") == {}
    code, facts, err = ended(start(*asked))
    assert (code, err) == (0, "")
    assert {fact["doing"] for fact in facts if "doing" in fact} == {"listing", "gathering"}


def answers(every: Sequence[Sequence[object]]) -> list[tuple[int, str]]:
    """Exit code and errors of the program for each of several command lines, in one process."""
    program = (
        "import contextlib, io, json, os, sys\n"
        "from maia.services.building.__main__ import main\n"
        "told = os.fdopen(os.dup(1), 'w')\n"  # the program has descriptor 1 for itself
        "os.dup2(2, 1)\n"
        "for arguments in json.load(sys.stdin):\n"
        "    err = io.StringIO()\n"
        "    with contextlib.redirect_stderr(err):\n"
        "        try:\n"
        "            code = main(arguments)\n"
        "        except SystemExit as error:\n"
        "            code = error.code\n"
        "    print(json.dumps([code, err.getvalue()]), file=told)\n"
    )
    asked = json.dumps([[str(one) for one in arguments] for arguments in every])
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, input=asked, timeout=120
    )
    return [json.loads(line) for line in made.stdout.splitlines()]


def test_what_cannot_be_built_is_one_line_each(pictures: Path, tmp_path: Path) -> None:
    def asked(**changed: object) -> Sequence[object]:
        given = {"model": f"{NETWORKS}:tiny", "dataset": pictures, "store": tmp_path / "store", "device": "cpu"}
        flags = (part for name, value in {**given, **changed}.items() for part in (f"--{name}", value))
        return ("build", "--json", *flags)

    for name, content in (("empty", ()), ("notes", ("a.txt",)), ("broken", ("0.png", "1.png", "2.png"))):
        (tmp_path / name).mkdir()
        for file in content:
            (tmp_path / name / file).write_text(f"{file} is no picture")
    every = {
        "empty: looked for": asked(dataset=tmp_path / "empty"),
        "notes: looked for": asked(dataset=tmp_path / "notes"),
        f"there is no {tmp_path / 'gone'}": asked(dataset=tmp_path / "gone"),
        f"{NETWORKS}:tiny has no layer '9' whose units have maps; it has 0, 1, 2": asked(layers="9"),
        f"41 pictures of each unit cannot be kept of a dataset of {COUNT}": asked(top=COUNT + 1),
        "0 pictures are no batch": asked(batch=0),
        "which of the 3 parts?": asked(shards=3),
        "a cluster does all parts": asked(engine="ray", shard=1),
        "are for a cluster; add --engine ray": asked(**{"ray-address": "auto"}),
        "threads-per-task are for a cluster": asked(**{"threads-per-task": 2}),
        "'here' is no address of a Ray cluster": asked(engine="ray", **{"ray-address": "here"}),
        "there is no part 3 of 3": asked(shards=3, shard=3),
        "no subject 'nobody'": asked(model="nobody"),
        "precision: Input should be": asked(precision="float8"),
        "there is no device 'cuda:77'": asked(device="cuda:77"),
        "with what is no number; choose --precision float32": asked(model=f"{NETWORKS}:nowhere", layers="1"),
        "none of the 3 pictures can be read; the first is 0.png: ": asked(dataset=tmp_path / "broken", top=1),
        "no parts of a pass over noise": ("merge", "--dataset", pictures, "--store", tmp_path / "store"),
    }
    for says, (code, err) in zip(every, answers(list(every.values())), strict=True):
        assert says in err
        assert code == 2
        assert err.splitlines()[-1].startswith("error: ")
        assert err.count("error: ") == 1
    assert ExemplarStore(tmp_path / "store").manifests() == []


def test_what_a_network_prints_is_kept_apart_from_the_facts(pictures: Path, tmp_path: Path) -> None:
    code, facts, err = ended(start(*flags(pictures, tmp_path, "printing")))
    assert code == 0
    assert facts[-1]["built"]
    assert "passing" in err
    assert "and past Python" in err


def test_only_the_first_of_many_pictures_left_out_are_named(tmp_path: Path) -> None:
    folder = noise(tmp_path / "data", 8)
    for number in range(150):
        (folder / f"bad{number:03}.png").write_bytes(b"%d" % number)
    code, facts, _ = ended(start(*flags(folder, tmp_path / "store")))
    assert code == 0
    assert facts[-1]["left_out"] == 150
    named = [one["title"] for one in facts[-1]["skipped"]]
    assert named == [f"bad{number:03}.png" for number in range(len(named))]
    assert 0 < len(named) < 150
    (report,) = (tmp_path / "store").rglob("report.json")
    assert len(json.loads(report.read_bytes())["skipped"]) == 150


def test_wrong_flags_are_refused() -> None:
    every = [("merge", "--top", "3"), ("build",), ("build", "--model", "m", "--shards", "x"), ("sell",)]
    for code, err in answers(every):
        assert code == 2
        assert "error: " in err.splitlines()[-1]


def peak_mb(pictures: Path, store: Path) -> float:
    """The largest memory of a builder."""
    program = (
        "import resource, sys\n"
        "from maia.services.building.__main__ import main\n"
        "code = main(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", program, *map(str, flags(pictures, store, "tiny")[:-1])],
        capture_output=True,
        text=True,
        check=True,
        input="",
    )
    return int(made.stderr.split()[-1]) / 1024


def test_memory_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    few, many = noise(tmp_path / "few", 200), noise(tmp_path / "many", 2000)
    peaks = [peak_mb(folder, tmp_path / f"store-{folder.name}") for folder in (few, many)]
    assert peaks[1] == pytest.approx(peaks[0], rel=0.05)
