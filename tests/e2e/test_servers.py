"""`maia up`, `serve`, `measure`, `doctor`, `exemplars`: the servers as an operator meets them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from tests.e2e.conftest import Maia

Left = Callable[[], Sequence[str]]
NAMES = ("subject", "generation", "editing", "exemplars", "description")


@pytest.fixture
def flags() -> list[str]:
    """Addresses of five ports that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in NAMES]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    return [f"--{name}-address=127.0.0.1:{port}" for name, port in zip(NAMES, ports, strict=True)]


def draw(maia: Maia) -> None:
    """A red circle, and nothing."""
    picture = Image.new("RGB", (224, 224), (200, 200, 200))
    picture.save(maia.folder / "nothing.png")
    ImageDraw.Draw(picture).ellipse((60, 60, 140, 140), fill=(220, 30, 30))
    picture.save(maia.folder / "circle.png")


def activation(table: str, picture: str) -> float:
    """The third column of a picture's row."""
    return float(next(line.split()[2] for line in table.splitlines() if line.split()[:1] == [picture]))


def test_up_serves_measure_and_doctor_until_ctrl_c(maia: Maia, flags: list[str], no_processes_left: Left) -> None:
    draw(maia)
    with maia.start("up", "--model", "scene-neurons", *flags) as process:
        assert process.stdout is not None
        shown = []
        for line in process.stdout:
            shown.append(line)
            if "Serving until Ctrl-C" in line:
                break
        table = "".join(shown)
        for name, flag in zip(NAMES, flags, strict=True):
            assert any(name in row and flag.partition("=")[2] in row for row in shown), table

        doctor = maia("doctor", *flags)
        assert doctor.code == 0, doctor.out
        assert "scene-neurons" in doctor.out
        assert "not running" not in doctor.out

        subject, exemplars = flags[0], flags[3]
        pictures = ("circle.png", "nothing.png")
        measured = maia("measure", subject, exemplars, "--model", "scene-neurons", "--unit", "mono:23", *pictures)
        assert measured.code == 0, measured.err
        assert "the exemplars" in measured.out
        unit = ("--model", "scene-neurons", "--unit", "mono:23")
        mean = maia("measure", subject, exemplars, *unit, "--pooling", "mean", "circle.png")
        assert "mean activation" in mean.out
        assert 0 < activation(mean.out, "circle.png") < activation(measured.out, "circle.png")

        second = maia("up", "--no-build", "--model", "scene-neurons", *flags)
        assert second.code == 2, second.err
        assert "cannot be bound" in second.err.splitlines()[-1]

        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert no_processes_left() == []


def test_a_server_that_dies_ends_up_with_its_log(maia: Maia, flags: list[str], no_processes_left: Left) -> None:
    with maia.start("up", "--no-build", "--model", "scene-neurons", *flags) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[:1] == ["editing"]:
                os.kill(int(line.split()[2]), signal.SIGKILL)
                break
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "the editing server ended (signal 9); the end of its log:" in err
    assert "serving" in err
    assert "Traceback" not in err
    assert no_processes_left() == []


def test_measure_with_servers_of_its_own_darkens_where_the_unit_does_not_respond(
    maia: Maia, no_processes_left: Left
) -> None:
    draw(maia)
    ended = maia("measure", "--up", "--model", "scene-neurons", "--unit", "mono:23", "--out", "views", "circle.png")
    assert ended.code == 0, ended.err
    view = np.asarray(Image.open(maia.folder / "views" / "circle.mono-23.png"))
    assert view[100, 100].tolist() == [220, 30, 30]
    assert view[10, 10].tolist() == [50, 50, 50]
    assert no_processes_left() == []

    whole = (maia.folder / "circle.png").read_bytes()
    (maia.folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    cut = maia("measure", "--up", "--model", "scene-neurons", "--unit", "mono:23", "cut.png")
    assert cut.code == 2
    assert cut.err.splitlines()[-1].startswith("error: cut.png is no picture to measure: the file is damaged")

    wrong = maia("measure", "--up", "--model", "scene-neurons", "--unit", "mono:900", "circle.png")
    assert wrong.code == 2
    assert "units 0 to" in wrong.err.splitlines()[-1]


def test_doctor_tells_what_is_missing_without_a_traceback(maia: Maia, flags: list[str]) -> None:
    ended = maia("doctor", *flags, ANTHROPIC_API_KEY="sk-secret")
    assert ended.code in (0, 1)
    assert "not running" in ended.out
    assert "ANTHROPIC_API_KEY is set" in ended.out
    assert "sk-secret" not in ended.out + ended.err
    assert ended.err == ""


def test_serve_passes_flags_and_signals_to_the_server(maia: Maia, no_processes_left: Left) -> None:
    helped = maia("serve", "generation", "--help")
    assert helped.code == 0
    assert "--drain-s" in helped.out
    with maia.start("serve", "generation", "--listen", "127.0.0.1:0", "--announce") as process:
        assert process.stdout is not None
        assert '"ready": "generation"' in process.stdout.readline()
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert no_processes_left() == []


def test_exemplars_are_found_once(maia: Maia) -> None:
    for _ in range(2):
        ended = maia("exemplars", "build", "--model", "scene-neurons")
        assert ended.code == 0, ended.err
        assert "scene-neurons: " in ended.err
        assert "80 pictures" in ended.err
        assert ended.out.startswith("Exemplars: ")
    assert "80 pictures, stored already" in ended.err
    assert "measuring" not in ended.err
    listed = maia("exemplars", "list")
    assert listed.code == 0
    assert "scene-neurons" in listed.out
    assert "scenes-v1" in listed.out


def test_parts_of_a_pass_are_merged(maia: Maia) -> None:
    where = ("--size", "70")
    error = maia("exemplars", "merge", *where)
    assert error.code == 2
    assert error.err.splitlines()[-1].startswith("error: no parts of a pass over scenes-v1 are in ")
    for part in ("1", "0"):
        ended = maia("exemplars", "build", "--model", "scene-neurons", "--shards", "2", "--shard", part, *where)
        assert ended.code == 0, ended.err
        assert "this part is done" in ended.err
        assert ended.out == ""
    ended = maia("exemplars", "merge", *where)
    assert ended.code == 0, ended.err
    assert "70 pictures" in ended.err
    assert ended.out.startswith("Exemplars: ")


def test_what_cannot_be_built_is_one_line(maia: Maia) -> None:
    (maia.folder / "pictures").mkdir()
    (maia.folder / "pictures" / "one.png").write_text("no picture")
    for flags, says in (
        (("--model", "nobody"), "no subject 'nobody'"),
        (("--dataset", "gone"), "there is no "),
        (("--dataset", "pictures", "--top", "1"), "none of the 1 pictures can be read; the first is one.png: "),
        (("--layers", "nothing"), "has no layer 'nothing'"),
    ):
        ended = maia("exemplars", "build", *(() if "--model" in flags else ("--model", "scene-neurons")), *flags)
        assert ended.code == 2, ended.err
        assert ended.err.splitlines()[-1].startswith("error: ")
        assert says in ended.err.splitlines()[-1]
        assert "Traceback" not in ended.err
