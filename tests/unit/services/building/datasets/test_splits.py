"""Splits are told from names as the library itself tells them."""

from __future__ import annotations

import os
from pathlib import Path

import datasets
import pytest
from tests.unit.services.building.datasets.trees import write_files

from maia.services.building.datasets.splits import splits_of


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        (["a.parquet", "b/c.parquet"], {"train": ["a.parquet", "b/c.parquet"]}),
        (["data/dev-00000-of-00001.parquet"], {"dev": ["data/dev-00000-of-00001.parquet"]}),
        (
            ["my-val.parquet", "my_training.parquet"],
            {"validation": ["my-val.parquet"], "train": ["my_training.parquet"]},
        ),
        (["x/eval/0.parquet", "x/train/0.parquet"], {"test": ["x/eval/0.parquet"], "train": ["x/train/0.parquet"]}),
        (["latest.parquet"], {"train": ["latest.parquet"]}),
        (["test/train.parquet", "val/0.parquet"], {"test": ["test/train.parquet"], "validation": ["val/0.parquet"]}),
        (["a-00000-of-00001.parquet"], {"train": ["a-00000-of-00001.parquet"]}),
        (
            ["data/some.part-00000-of-00002-ab12.parquet", "data/some.part-00001-of-00002-cd34.parquet"],
            {"some.part": ["data/some.part-00000-of-00002-ab12.parquet", "data/some.part-00001-of-00002-cd34.parquet"]},
        ),
    ],
)
def test_names_tell_splits_as_they_tell_the_library(
    tmp_path: Path, files: list[str], splits: dict[str, list[str]]
) -> None:
    assert splits_of(files) == splits
    write_files(tmp_path, dict.fromkeys(files, b""))
    patterns = datasets.data_files.get_data_patterns(str(tmp_path))
    theirs = datasets.data_files.DataFilesDict.from_patterns(patterns, base_path=str(tmp_path))
    found = {split: sorted(os.path.relpath(file, tmp_path) for file in files) for split, files in theirs.items()}
    assert found == splits
