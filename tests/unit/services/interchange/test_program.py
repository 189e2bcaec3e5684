"""`python -m maia.services.interchange`, as a user and as a program would call it."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.unit.services.interchange.shelf import Shelf
from tests.unit.services.interchange.test_fetching import zipped
from tests.unit.services.interchange.upstream import files, noise, write

from maia.services.interchange.__main__ import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("layer1", "layer2"):
        write(tmp_path / "in" / "net" / "imagenet" / name, noise())
    return tmp_path


def test_in_and_out_and_a_sheet(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ["--store", str(root / "store")]
    assert main(["import", str(root / "in"), *store]) == 0
    assert main(["import", str(root / "in"), *store]) == 0
    assert main(["export", str(root / "out"), "--model", "net", *store]) == 0
    monkeypatch.chdir(root)
    assert main(["show", "--model", "net", "--unit", "layer1:2", *store]) == 0
    assert main(["show", "--model", "net", "--unit", "layer1:2", "--out", "a.html", *store]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "imported net on imagenet: layer1 (3 units), layer2 (3 units), 7 pictures",
        "already in the store: net on imagenet: layer1 (3 units), layer2 (3 units), 7 pictures",
        f"wrote {root / 'out' / 'net' / 'imagenet' / 'layer1'}: 3 units, 4 pictures each",
        f"wrote {root / 'out' / 'net' / 'imagenet' / 'layer2'}: 3 units, 4 pictures each",
        "wrote net-layer1-2.png",
        "wrote a.html",
    ]
    assert "packing: 7 of 7 pictures\n" in told.err
    assert files(root / "out") == files(root / "in")
    with Image.open(root / "net-layer1-2.png") as sheet:
        assert sheet.format == "PNG"
    assert (root / "a.html").read_text().startswith("<!doctype html>")


def test_as_json_there_are_steps_and_one_result(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = root / "in" / "net" / "imagenet" / "layer1"
    (folder / "thresholds.csv").unlink()
    assert main(["import", str(folder), "--store", str(root / "store"), "--json"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    *steps, last = [json.loads(line) for line in told.out.splitlines()]
    assert steps[0] == {"doing": "checking", "done": 1, "total": 12, "counted": "pictures"}
    assert all({"doing", "done", "total"} <= set(step) for step in steps)
    assert last["results"] == [
        {
            "imported": "net",
            "anew": True,
            "dataset": "imagenet",
            "layers": {"layer1": 3},
            "pictures": 7,
        }
    ]
    assert len(last["notes"]) == 1


def test_sets_are_fetched(root: Path, served: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    served.files["/sets/net.zip"] = zipped(root / "in")
    flags = ["--base-url", served.url, "--store", str(root / "store")]
    assert main(["fetch", "net", *flags]) == 0
    assert main(["fetch", *flags, "net"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"downloaded {served.url}net.zip"
    assert out[1].startswith("SHA-256 ")
    assert out[2] == "imported net on imagenet: layer1 (3 units), layer2 (3 units), 7 pictures"
    assert out[3] == f"already here: {served.url}net.zip"
    assert main(["fetch", "net", "other", *flags]) == 2
    assert "HTTP 404" in capsys.readouterr().err
    assert main(["fetch", *flags]) == 2  # without a name all that are published, which are not there
    assert "resnet152.zip (HTTP 404)" in capsys.readouterr().err


def test_what_folders_are_called_cannot_steer_a_terminal(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ["--store", str(root / "store")]
    assert main(["import", str(root / "in"), *store]) == 0
    assert main(["export", str(root / "\x1b[2Jout"), "--model", "net", *store]) == 0
    assert main(["show", "--model", "net", "--unit", "layer1:2", "--out", str(root / "\u202ea.png"), *store]) == 0
    told = capsys.readouterr().out
    assert ["\x1b" in told, "\u202e" in told, "\\x1b[2Jout" in told, "\\u202ea.png" in told] == [
        False,
        False,
        True,
        True,
    ]


def test_a_sheet_that_cannot_be_written_leaves_the_former(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ["--store", str(root / "store")]
    assert main(["import", str(root / "in"), *store]) == 0
    (root / "a.html").write_text("the former")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["show", "--model", "net", "--unit", "layer1:2", "--out", str(root / "a.html"), *store]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert (root / "a.html").read_text() == "the former"
    assert sorted(path.name for path in root.iterdir()) == ["a.html", "in", "store"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "nowhere"], "nowhere does not exist"),
        (["import", "in", "--layers", "layer9"], "there is no layer 'layer9'; there is layer1, layer2"),
        (["export", "out", "--model", "other"], "no exemplars of 'other'"),
        (["show", "--model", "net", "--unit", "layer1"], "'layer1' is no unit; write LAYER:INDEX"),
        (["show", "--model", "net", "--unit", "layer1:-1"], "'layer1:-1' is no unit"),
        (["show", "--model", "net", "--unit", ":3"], "':3' is no unit"),
        (["show", "--model", "net", "--unit", "layer1:²"], "is no unit"),
        (["show", "--model", "net", "--unit", "layer1:9"], "net layer1 has units 0 to 2, not 9"),
        (["show", "--model", "net", "--unit", "layer1:0", "--out", "a.gif"], "neither a .png nor a .html"),
        (["show", "--model", "net", "--unit", "layer1:0", "--out", "no/a.png"], "nothing can be written to no"),
        (["fetch", "../x"], "'../x' is no name of a zip file"),
        (["fetch", "a", "b", "--sha256", "0" * 64], "the checksum of one zip, and there are 2"),
        (["fetch", "a", "--base-url", "file:///etc"], "'file:///etc' is no address"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    assert main(["import", "in", "--store", "store"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--store", "store"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert message in told


def test_the_end_of_the_parent_ends_it_and_leaves_nothing(root: Path) -> None:
    write(root / "in" / "net" / "imagenet" / "layer3", noise(units=40_000))
    command = [sys.executable, "-m", "maia.services.interchange", "import", str(root / "in"), "--json"]
    process = subprocess.Popen(
        [*command, "--store", str(root / "store"), "--end-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        assert json.loads(process.stdout.readline())["done"] == 1
        process.stdin.close()
        assert process.wait(60) == 130
    assert not list((root / "store").rglob("*"))


def test_help_names_the_published_sets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fetch", "--help"])
    assert caught.value.code == 0
    assert "resnet152, clip-RN50, dino, synthetic_neurons" in " ".join(capsys.readouterr().out.split())
