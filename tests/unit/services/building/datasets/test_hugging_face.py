"""Datasets of Hugging Face, written by the library itself and by pyarrow alone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.unit.services.building.datasets.trees import write_files

from maia.services.building.datasets.hugging_face import RowChoice, open_parquet, open_saved
from maia.services.building.datasets.rows import RowsDataset
from maia.wire.errors import InvalidRequestError, MaiaError, NotFoundError, PreconditionError


@pytest.fixture(autouse=True)
def _no_bars_and_no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise AssertionError("a dataset on disk needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def rows(pictures: Sequence[bytes | None]) -> Any:
    cells = [None if data is None else {"bytes": data, "path": f"{data!r}.png"} for data in pictures]
    features = datasets.Features(
        {"label": datasets.Value("string"), "raw": datasets.Value("binary"), "image": datasets.Image()}
    )
    columns = {"label": ["x"] * len(cells), "raw": [b"r%d" % number for number in range(len(cells))], "image": cells}
    return datasets.Dataset.from_dict(columns, features=features)


def saved(folder: Path, pictures: Sequence[bytes | None]) -> Path:
    rows(pictures).save_to_disk(folder)
    return folder


def saved_splits(folder: Path, *splits: str) -> Path:
    datasets.DatasetDict({split: rows([split.encode()] if split != "none" else []) for split in splits}).save_to_disk(
        folder
    )
    return folder


def table(path: Path, cells: Sequence[object], kind: pa.DataType | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"picture": pa.array(cells, kind)}), path)
    return path


def opened(root: Path, store: Path, files: Sequence[str] | None = None, choice: RowChoice | None = None) -> RowsDataset:
    names = [root.name] if files is None else files
    return open_parquet(root, [os.fsencode(name) for name in names], store, choice or RowChoice())


def contents(dataset: RowsDataset) -> list[bytes]:
    return [dataset.read(slot) for slot in range(len(dataset))]


def test_what_save_to_disk_writes_is_read_as_it_is(tmp_path: Path) -> None:
    dataset = open_saved(saved(tmp_path / "set", [b"no picture, but bytes", b"", b"2"]), RowChoice())
    assert contents(dataset) == [b"no picture, but bytes", b"", b"2"]
    assert (dataset.name, dataset.title(2), dataset.notes) == ("set", "row 2", ())
    assert len(open_saved(tmp_path / "set", RowChoice(limit=2))) == 2
    assert len(open_saved(tmp_path / "set", RowChoice(limit=9))) == 3


def test_a_format_that_was_saved_too_does_not_matter(tmp_path: Path) -> None:
    rows([b"1"]).with_format("numpy").save_to_disk(tmp_path / "set")
    assert contents(open_saved(tmp_path / "set", RowChoice())) == [b"1"]


def test_rows_without_a_picture_keep_their_slots(tmp_path: Path) -> None:
    dataset = open_saved(saved(tmp_path / "set", [b"1", None, b"1", None]), RowChoice())
    with pytest.raises(PreconditionError, match="row 1 has no picture") as caught:
        dataset.read(1)
    assert caught.value.reason == "PICTURE_MISSING"
    assert dataset.read(2) == b"1"
    assert dataset.duplicates == {2: 0}
    assert dataset.notes == ("2 of 4 rows have no picture that can be read",)


def test_a_split_is_chosen_if_there_are_several(tmp_path: Path) -> None:
    folder = saved_splits(tmp_path / "set", "train", "test")
    with pytest.raises(InvalidRequestError, match="choose one: train, test") as several:
        open_saved(folder, RowChoice())
    with pytest.raises(NotFoundError, match=r"no split 'dev'; it has train, test") as unknown:
        open_saved(folder, RowChoice(split="dev"))
    assert (several.value.reason, unknown.value.reason) == ("SPLIT_UNNAMED", "SPLIT_UNKNOWN")
    assert several.value.metadata["valid"] == unknown.value.metadata["valid"] == "train, test"
    dataset = open_saved(folder, RowChoice(split="test"))
    assert (dataset.name, contents(dataset)) == ("set/test", [b"test"])


def test_the_only_split_need_not_be_named(tmp_path: Path) -> None:
    folder = saved_splits(tmp_path / "set", "validation")
    assert open_saved(folder, RowChoice()).name == "set"
    assert contents(open_saved(folder, RowChoice(split="validation"))) == [b"validation"]
    with pytest.raises(NotFoundError, match="leave it out"):
        open_saved(saved(tmp_path / "plain", [b"1"]), RowChoice(split="train"))


def test_a_column_is_chosen_among_those_that_hold_pictures(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", [b"1"])
    assert contents(open_saved(folder, RowChoice(column="raw"))) == [b"r0"]
    with pytest.raises(NotFoundError, match="no column 'label' with pictures; it has image, raw") as caught:
        open_saved(folder, RowChoice(column="label"))
    assert (caught.value.reason, caught.value.metadata["valid"]) == ("COLUMN_UNKNOWN", "image, raw")


def test_a_dataset_without_pictures_names_its_columns(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a"], "n": [1]}).save_to_disk(tmp_path / "set")
    with pytest.raises(PreconditionError, match="its columns are 'text', 'n'") as caught:
        open_saved(tmp_path / "set", RowChoice())
    assert caught.value.reason == "COLUMN_MISSING"


@pytest.mark.parametrize("damage", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
def test_a_damaged_dataset_is_called_that(tmp_path: Path, damage: str) -> None:
    folder = saved(tmp_path / "set", [b"1"])
    (folder / damage).write_bytes(b"{")
    with pytest.raises(PreconditionError, match="fetch or write it again") as caught:
        open_saved(folder, RowChoice())
    assert caught.value.reason == "DATASET_DAMAGED"


def test_a_list_of_splits_that_is_none(tmp_path: Path) -> None:
    write_files(tmp_path, {"dataset_dict.json": json.dumps([]).encode()})
    with pytest.raises(PreconditionError) as caught:
        open_saved(tmp_path, RowChoice())
    assert caught.value.reason == "DATASET_DAMAGED"


def test_tables_are_read_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "we[i]rd {a,b}"
    table(folder / "1.parquet", [{"bytes": b"b", "path": None}])
    table(folder / "0.parquet", [{"bytes": b"c", "path": "c.png"}, {"bytes": b"a", "path": None}])
    told: list[tuple[str, int, int]] = []
    dataset = open_parquet(
        folder, [b"0.parquet", b"1.parquet"], tmp_path / "store", RowChoice(), lambda *step: told.append(step)
    )
    assert contents(dataset) == [b"c", b"a", b"b"]
    assert told == [("preparing", 0, 3), ("preparing", 3, 3), ("listing", 3, 3)]
    table(folder / "1.parquet", [{"bytes": b"changed", "path": None}])
    assert contents(opened(folder, tmp_path / "store", ["0.parquet", "1.parquet"])) == [b"c", b"a", b"changed"]


def test_bars_of_the_library_are_as_they_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datasets.enable_progress_bars()
    opened(table(tmp_path / "a.parquet", [b"1"]), tmp_path / "store")
    assert not datasets.are_progress_bars_disabled()
    assert capsys.readouterr().err == ""


def test_what_to_parquet_writes_is_read(tmp_path: Path) -> None:
    for split in ("train", "test"):
        rows([split.encode(), b"1"]).to_parquet(str(tmp_path / "set" / f"{split}-00000-of-00001.parquet"))
    files = ["test-00000-of-00001.parquet", "train-00000-of-00001.parquet"]
    with pytest.raises(InvalidRequestError, match="choose one: test, train"):
        opened(tmp_path / "set", tmp_path / "store", files)
    dataset = opened(tmp_path / "set", tmp_path / "store", files, RowChoice(split="train"))
    assert (dataset.name, contents(dataset)) == ("set/train", [b"train", b"1"])


def test_files_of_no_split_beside_those_of_one_are_told(tmp_path: Path) -> None:
    table(tmp_path / "more.parquet", [b"2"])
    table(tmp_path / "train.parquet", [b"1"])
    dataset = opened(tmp_path, tmp_path / "store", ["more.parquet", "train.parquet"])
    assert (contents(dataset), dataset.name) == ([b"1"], tmp_path.name)
    assert dataset.notes == ("1 of 2 .parquet files have no split in their names and are left out",)


def test_both_forms_of_a_dataset_have_one_revision_wherever_they_lie(tmp_path: Path) -> None:
    revision = open_saved(saved(tmp_path / "set", [b"1", b"22", None]), RowChoice()).revision
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    rows([b"1", b"22", None]).to_parquet(str(tmp_path / "a.parquet"))
    assert open_saved(tmp_path / "copy", RowChoice()).revision == revision
    assert opened(tmp_path / "a.parquet", tmp_path / "store").revision == revision
    assert open_saved(saved(tmp_path / "other", [b"22", b"1", None]), RowChoice()).revision != revision


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_column_of_plain_bytes_will_do(tmp_path: Path, kind: pa.DataType) -> None:
    dataset = opened(table(tmp_path / "a.parquet", [b"123", None, b""], kind), tmp_path / "store")
    assert (dataset.read(0), dataset.read(2), dataset.sizes.tolist()) == (b"123", b"", [3, -1, 0])


def test_rows_may_name_files(tmp_path: Path) -> None:
    write_files(tmp_path / "set", {"pics/a.png": b"a", "b.png": b"b"})
    write_files(tmp_path / "other", {"d.png": b"somebody's own"})
    paths = [
        "pics/a.png",
        str(tmp_path / "set" / "b.png"),
        "gone.png",
        "https://example.org/c.png",
        "/dev/zero",
        None,
        "a\0.png",
        "../other/d.png",
    ]
    cells: list[object] = [{"bytes": None, "path": path} for path in paths]
    cells.append({"bytes": b"a", "path": "gone.png"})
    dataset = opened(table(tmp_path / "set" / "t.parquet", cells), tmp_path / "store")
    assert (dataset.read(0), dataset.read(1), dataset.read(8)) == (b"a", b"b", b"a")
    assert dataset.duplicates == {8: 0}
    with pytest.raises(FileNotFoundError):
        dataset.read(2)
    with pytest.raises(PreconditionError, match=r"at https://example\.org/c\.png; nothing is downloaded"):
        dataset.read(3)
    for slot in (4, 7):
        with pytest.raises(PreconditionError, match="outside the dataset's folder; it is not opened"):
            dataset.read(slot)
    with pytest.raises(PreconditionError, match="no picture"):
        dataset.read(5)
    with pytest.raises(PreconditionError, match=r"a\\x00\.png"):
        dataset.read(6)
    (tmp_path / "set" / "b.png").write_bytes(b"longer")
    with pytest.raises(PreconditionError) as caught:
        dataset.read(1)
    assert caught.value.reason == "DATASET_CHANGED"


def test_tables_without_rows_do_not_matter_unless_all_are(tmp_path: Path) -> None:
    table(tmp_path / "0.parquet", [], pa.binary())
    table(tmp_path / "1.parquet", [b"1"], pa.binary())
    assert contents(opened(tmp_path, tmp_path / "store", ["0.parquet", "1.parquet"])) == [b"1"]
    with pytest.raises(PreconditionError, match="has no rows") as caught:
        opened(tmp_path / "0.parquet", tmp_path / "store")
    assert caught.value.reason == "DATASET_EMPTY"
    with pytest.raises(PreconditionError, match="has no rows"):
        open_saved(saved(tmp_path / "set", []), RowChoice())
    with pytest.raises(PreconditionError, match="has no rows"):
        open_saved(saved_splits(tmp_path / "splits", "train", "none"), RowChoice(split="none"))


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    table(tmp_path / "0.parquet", [b"1"])
    (tmp_path / "1.parquet").write_bytes(b"PAR1")
    with pytest.raises(PreconditionError, match=r"1\.parquet cannot be read") as caught:
        opened(tmp_path, tmp_path / "store", ["0.parquet", "1.parquet"])
    assert caught.value.reason == "DATASET_DAMAGED"


def test_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(PreconditionError) as caught:
        opened(table(tmp_path / "a.parquet", [b"1"]), tmp_path / "store")
    assert caught.value.reason == "STORE_UNWRITABLE"


def test_a_disk_that_is_full_is_called_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise datasets.exceptions.DatasetGenerationError("while writing") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(datasets, "load_dataset", full)
    with pytest.raises(PreconditionError, match="No space left; make room") as caught:
        opened(table(tmp_path / "a.parquet", [b"1"]), tmp_path / "store")
    assert caught.value.reason == "STORE_UNWRITABLE"


@pytest.mark.parametrize("slot", [-1, 1])
def test_a_slot_that_is_not_there(tmp_path: Path, slot: int) -> None:
    dataset = open_saved(saved(tmp_path / "set", [b"1"]), RowChoice())
    with pytest.raises(IndexError):
        dataset.read(slot)


def test_duplicates_are_found_across_batches_of_rows(tmp_path: Path) -> None:
    dataset = opened(
        table(tmp_path / "a.parquet", [b"%d" % (number % 1500) for number in range(3000)]), tmp_path / "store"
    )
    assert dataset.duplicates == {slot: slot - 1500 for slot in range(1500, 3000)}


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    dataset = open_saved(saved(tmp_path / "set", [b"%d" % number for number in range(100)]), RowChoice())
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(dataset.read, [*range(100)] * 10)) == [b"%d" % number for number in range(100)] * 10


def test_without_the_library_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "set", [b"1"])
    monkeypatch.setitem(sys.modules, "datasets", None)
    opening: list[Callable[[], RowsDataset]] = [
        lambda: open_saved(folder, RowChoice()),
        lambda: open_parquet(tmp_path / "a.parquet", [b"a.parquet"], tmp_path, RowChoice()),
    ]
    for open_it in opening:
        with pytest.raises(MaiaError, match=r"pip install 'maia\[datasets\]'") as caught:
            open_it()
        assert caught.value.reason == "EXTRA_MISSING"


def test_the_library_is_imported_when_it_is_needed() -> None:
    program = (
        "import sys; import maia.services.building.datasets.dataset; "
        "sys.exit(bool({'datasets', 'pyarrow', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
