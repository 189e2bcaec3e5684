"""A dataset is opened by name: what is there says what it is."""

from __future__ import annotations

import os
from pathlib import Path

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.unit.services.building.datasets.trees import write_files, write_tar

from maia.services.building.datasets.dataset import Dataset, open_dataset
from maia.wire.errors import InvalidRequestError, MaiaError, NotFoundError, PreconditionError


def titles(dataset: Dataset) -> list[str]:
    return [dataset.title(slot) for slot in range(len(dataset))]


def refused(where: str | Path, store: Path, **choices: str) -> MaiaError:
    with pytest.raises(MaiaError) as caught:
        open_dataset(str(where), store=store, **choices)  # type: ignore[arg-type]  # all choices here are strings
    return caught.value


def test_scenes_are_the_scene_set_and_a_folder_of_that_name_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "scenes", {"a.png": b"1"})
    monkeypatch.chdir(tmp_path)
    assert open_dataset("scenes", store=tmp_path / "store", size=1).name == "scenes-v1"
    assert titles(open_dataset("./scenes", store=tmp_path / "store")) == ["a.png"]


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    write_files(tmp_path / "set", {"b.png": b"2", "a/c.jpg": b"1", "old.tar": b"", "d.parquet": b""})
    dataset = open_dataset(str(tmp_path / "set"), store=tmp_path / "store")
    assert (dataset.name, titles(dataset)) == ("set", ["a/c.jpg", "b.png"])
    assert dataset.notes == ("2 files that are no pictures were passed over: 1 .parquet, 1 .tar",)
    first = open_dataset(str(tmp_path / "set"), store=tmp_path / "store", size=1)
    assert titles(first) == ["a/c.jpg"]
    assert first.revision != dataset.revision
    assert not (tmp_path / "store").exists()


def test_a_folder_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_files(tmp_path / "set", {"b.png": b"2"})
    assert titles(open_dataset("~/set", store=tmp_path / "store")) == ["b.png"]


def test_tars_by_name_by_folder_and_by_pattern_are_one_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (9, 10):
        write_tar(tmp_path / "set" / f"s-{number}.tar", [(f"{number}.png", b"1"), ("x.json", b"")])
    (tmp_path / "set" / "stats.json").touch()
    folder = open_dataset(str(tmp_path / "set"), store=tmp_path)
    assert (folder.name, titles(folder)) == ("set", ["s-10.tar/10.png", "s-9.tar/9.png"])
    monkeypatch.chdir(tmp_path)
    for pattern in ("set/s-{9..10}.tar", str(tmp_path / "set" / "s-{10,9}.tar"), "set/s-{9,9,10}.tar"):
        dataset = open_dataset(pattern, store=tmp_path)
        assert (titles(dataset), dataset.revision) == (titles(folder), folder.revision)
    one = open_dataset("set/s-9.tar", store=tmp_path)
    assert (one.name, titles(one), one.duplicates) == ("s-9", ["9.png"], {})
    assert len(open_dataset("set", store=tmp_path, size=1)) == 1


def test_a_pattern_may_go_through_folders(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_tar(tmp_path / split / "0.tar", [("a.png", split.encode())])
    dataset = open_dataset(str(tmp_path / "{val,train}" / "0.tar"), store=tmp_path)
    assert titles(dataset) == ["train/0.tar/a.png", "val/0.tar/a.png"]
    assert titles(open_dataset(str(tmp_path), store=tmp_path)) == titles(dataset)


def test_a_file_whose_name_has_braces_is_that_file(tmp_path: Path) -> None:
    write_tar(tmp_path / "{0..9}.tar", [("a.png", b"1")])
    assert titles(open_dataset(str(tmp_path / "{0..9}.tar"), store=tmp_path)) == ["a.png"]


def test_rows_that_save_to_disk_wrote(tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"image": [{"bytes": b"1", "path": "a.png"}] * 3}, features=features)
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "set")
    datasets.enable_progress_bars()
    dataset = open_dataset(str(tmp_path / "set"), store=tmp_path / "store", split="test", column="image", size=2)
    assert (dataset.name, titles(dataset), dataset.duplicates) == ("set/test", ["row 0", "row 1"], {1: 0})
    assert refused(tmp_path / "set", tmp_path).reason == "SPLIT_UNNAMED"


def test_parquet_files_as_a_folder_or_alone(tmp_path: Path) -> None:
    (tmp_path / "set" / "data").mkdir(parents=True)
    (tmp_path / "set" / "README.md").touch()
    parquet.write_table(pa.table({"picture": [b"1", b"2"]}), tmp_path / "set" / "data" / "0.parquet")
    for where, name in ((tmp_path / "set", "set"), (tmp_path / "set" / "data" / "0.parquet", "0")):
        dataset = open_dataset(str(where), store=tmp_path / "store")
        assert (dataset.name, [dataset.read(slot) for slot in range(2)]) == (name, [b"1", b"2"])


@pytest.mark.parametrize("where", ["", "missing", "missing/{a}.tar", "~nobody-of-this-name/x", "a\0b", "/dev/null"])
def test_nothing_where_a_dataset_should_be(tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_files(tmp_path, {"a.png": b"1"}))
    error = refused(where, tmp_path)
    assert (type(error), error.reason) == (NotFoundError, "DATASET_MISSING")
    assert error.message.isprintable()


def test_a_tar_that_a_pattern_stands_for_is_missing(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a.png", b"1")])
    error = refused(tmp_path / "{0..99999999999}.tar", tmp_path)
    assert error.reason == "DATASET_MISSING"
    assert f"there is no {tmp_path}/1.tar, which the pattern" in error.message


def test_an_empty_folder_says_what_was_looked_for_and_what_was_there(tmp_path: Path) -> None:
    write_files(tmp_path / "set", {"a.txt": b"", "b/c.GIF": b"", ".d.png": b""})
    error = refused(tmp_path / "set", tmp_path)
    assert (type(error), error.reason, error.metadata["others"]) == (PreconditionError, "DATASET_EMPTY", "3")
    assert ".jpeg, .jpg, .png, .webp, .tar archives" in error.message
    assert "3 other files: 1 .gif, 1 .txt, 1 hidden" in error.message


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.txt", "is no dataset"), ("a.png", "name the folder"), ("a.tar.gz", "unpack it"), ("a.zip", "unpack it")],
)
def test_a_file_that_is_no_dataset(tmp_path: Path, name: str, told: str) -> None:
    write_files(tmp_path, {name: b"x"})
    error = refused(tmp_path / name, tmp_path)
    assert (type(error), error.reason) == (InvalidRequestError, "DATASET_UNSUPPORTED")
    assert told in error.message


def test_a_pattern_stands_for_tars_alone(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.png": b"1", "b.png": b"1"})
    assert "a pattern stands for those alone" in refused(tmp_path / "{a,b}.png", tmp_path).message


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_that_is_none(tmp_path: Path, size: int) -> None:
    with pytest.raises(InvalidRequestError, match=f"{size} pictures") as caught:
        open_dataset("scenes", store=tmp_path, size=size)
    assert caught.value.reason == "SIZE_INVALID"


@pytest.mark.parametrize("choice", ["split", "column"])
def test_only_rows_have_splits_and_columns(tmp_path: Path, choice: str) -> None:
    write_files(tmp_path / "set", {"a.png": b"1"})
    write_tar(tmp_path / "tars" / "a.tar", [("a.png", b"1")])
    for where in (
        "scenes",
        tmp_path / "set",
        tmp_path / "tars",
        tmp_path / "tars" / "a.tar",
        tmp_path / "tars/{a,a}.tar",
    ):
        assert refused(where, tmp_path, **{choice: "train"}).reason == "SETTING_INVALID"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    write_files(tmp_path / "set", {"a.png": b"1", "b/c.png": b"1"})
    (tmp_path / "set" / "b").chmod(0)
    try:
        assert refused(tmp_path / "set", tmp_path).reason == "DATASET_UNREADABLE"
    finally:
        (tmp_path / "set" / "b").chmod(0o755)
