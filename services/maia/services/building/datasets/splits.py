"""The splits of a dataset, told by the names of its files as the library `datasets` tells them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_SHARD: Final = re.compile(r"data/(\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*")
_BETWEEN_WORDS: Final = re.compile(r"[-._ 0-9]+")
_WORDS: Final = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def splits_of(files: Sequence[str]) -> dict[str, list[str]]:
    """Return files by the splits that their names tell, as the library `datasets` does; all are "train" if none does.

    Told by data/name-00000-of-00001, else by a word such as "validation" in a folder's name, else by one in the file's.
    """
    for split_of in (_by_shard, _by_folder, _by_file_name):
        splits: dict[str, list[str]] = {}
        for file in files:
            if split := split_of(file):
                splits.setdefault(split, []).append(file)
        if splits:
            return splits
    return {"train": list(files)}


def _by_shard(file: str) -> str | None:
    found = _SHARD.fullmatch(file)
    return found[1] if found else None


def _by_file_name(file: str) -> str | None:
    return _by_word(file.rpartition("/")[2])


def _by_folder(file: str) -> str | None:
    return next((split for part in file.split("/")[:-1] if (split := _by_word(part))), None)


def _by_word(name: str) -> str | None:
    parts = set(_BETWEEN_WORDS.split(name))
    return next((split for split, words in _WORDS.items() if parts.intersection(words)), None)
