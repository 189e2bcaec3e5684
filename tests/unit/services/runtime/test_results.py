"""The store of results: what comes out is what went in, within its bound, whatever happens to the files."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.services._runtime.results import MadePicture, ResultStore, result_key
from maia.wire.errors import InternalError

PICTURE = MadePicture(b"\x89PNG\n\nbytes", ("one — thing", "line\nbreak"))
KEYS = [result_key(prompt=prompt) for prompt in "abcdefgh"]
OVERHEAD = 64 + 1 + len("[]\n")
"""Bytes of an entry without its PNG and warnings."""


def entry_bytes(made: MadePicture) -> int:
    return OVERHEAD + len(made.png)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("??/*"))


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    ResultStore(tmp_path / "new", 10_000).put(KEYS[0], PICTURE)
    store = ResultStore(tmp_path / "new", 10_000)
    assert store.get(KEYS[0]) == PICTURE
    assert store.get(KEYS[1]) is None


def test_a_key_tells_apart_all_that_it_is_made_of() -> None:
    parts: list[dict[str, str | int]] = [
        {"prompt": "a", "seed": 1},
        {"prompt": "a", "seed": 2},
        {"prompt": "a1", "seed": 1},
        {"prompt": "a", "by": "1"},
        {"prompt": "", "seed": 1},
    ]
    assert len({result_key(**one) for one in parts}) == len(parts)
    assert result_key(seed=1, prompt="a") == result_key(prompt="a", seed=1)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 7), st.integers(0, 500)), max_size=40))
def test_it_behaves_as_a_bounded_dictionary_that_forgets_what_was_used_longest_ago(
    steps: list[tuple[str, int, int]],
) -> None:
    limit = 1200
    folder = Path(tempfile.mkdtemp())
    store = ResultStore(folder, limit)
    known: OrderedDict[str, MadePicture] = OrderedDict()
    try:
        for kind, number, length in steps:
            key = KEYS[number]
            if kind == "get":
                assert store.get(key) == known.get(key)
            else:
                known[key] = MadePicture(os.urandom(length), ())
                store.put(key, known[key])
            if key in known:
                known.move_to_end(key)
            if sum(map(entry_bytes, known.values())) > limit:
                while sum(map(entry_bytes, known.values())) > 0.9 * limit:
                    known.popitem(last=False)
            assert {path.name for path in folder.glob("??/*")} == set(known)
        assert {key: store.get(key) for key in known} == known
    finally:
        shutil.rmtree(folder)


def test_what_is_used_stays(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, 4 * (OVERHEAD + 100))
    for key in KEYS[:4]:
        store.put(key, MadePicture(bytes(100), ()))
    assert store.get(KEYS[0])
    store.put(KEYS[4], MadePicture(bytes(100), ()))
    assert store.get(KEYS[0])
    assert store.get(KEYS[4])
    assert store.get(KEYS[1]) is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_entry_is_none(tmp_path: Path, damage: str) -> None:
    store = ResultStore(tmp_path, 10_000)
    store.put(KEYS[0], PICTURE)
    path = tmp_path / KEYS[0][:2] / KEYS[0]
    data = path.read_bytes()
    flipped = data[:-1] + bytes([data[-1] ^ 1])
    path.write_bytes({"cut": data[:-3], "flipped": flipped, "empty": b"", "other": b"x" * 200}[damage])
    assert store.get(KEYS[0]) is None
    assert not path.exists()
    store.put(KEYS[0], PICTURE)
    assert store.get(KEYS[0]) == PICTURE


def test_no_limit_no_store(tmp_path: Path) -> None:
    ResultStore(tmp_path / "none", 0).put(KEYS[0], PICTURE)
    assert not (tmp_path / "none").exists()


def test_a_result_larger_than_the_limit_drives_nothing_out(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, 500)
    store.put(KEYS[0], PICTURE)
    store.put(KEYS[1], MadePicture(bytes(600), ()))
    assert store.get(KEYS[0]) == PICTURE
    assert store.get(KEYS[1]) is None


async def test_a_folder_that_cannot_be_written_is_said_once_and_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = ResultStore(tmp_path / "file" / "below", 10_000)
    with structlog.testing.capture_logs() as logs:
        assert await store.keep({KEYS[0]: PICTURE, KEYS[1]: PICTURE}) == {KEYS[0]: PICTURE, KEYS[1]: PICTURE}
        assert await store.recall(KEYS) == {}
    assert [log["event"] for log in logs] == ["results_not_kept"]


def test_a_full_disk_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path, 10_000)
    store.put(KEYS[0], PICTURE)

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        store.put(KEYS[1], PICTURE)
    assert store.get(KEYS[1]) is None
    assert len(list(tmp_path.glob("??/*"))) == 1  # nothing half-written is left
    assert store.get(KEYS[0]) == PICTURE


async def test_what_succeeded_is_kept_though_something_failed(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, 10_000)
    with pytest.raises(InternalError):
        await store.keep({KEYS[0]: InternalError("no"), KEYS[1]: PICTURE})
    assert await store.recall(KEYS) == {KEYS[1]: PICTURE}


def test_what_a_dead_process_left_is_removed_in_time(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, 300)
    store.put(KEYS[0], MadePicture(bytes(100), ()))
    old, young = (tmp_path / KEYS[0][:2] / f"{name}.part" for name in ("old", "young"))
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    for key in KEYS:
        store.put(key, MadePicture(bytes(100), ()))
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("text", ["", "x", "-1", "999999999"])
def test_a_wrong_count_is_corrected(tmp_path: Path, text: str) -> None:
    ResultStore(tmp_path, 1000).put(KEYS[0], PICTURE)
    (tmp_path / "bytes").write_text(text)
    store = ResultStore(tmp_path, 1000)
    for key in KEYS:
        store.put(key, MadePicture(bytes(200), ()))
        assert size_of(tmp_path) <= 1000
    assert len(list(tmp_path.glob("??/*"))) >= 2


def _write(folder: Path, number: int) -> None:
    store = ResultStore(folder, 3000)
    for round_ in range(40):
        key = KEYS[(number + round_) % len(KEYS)]
        store.put(key, MadePicture(key.encode() * 5, ()))
        for other in KEYS:
            found = store.get(other)
            assert found is None or found.png == other.encode() * 5


def test_processes_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert size_of(tmp_path) <= 3000
    assert ResultStore(tmp_path, 3000).get(KEYS[0]) is not None or size_of(tmp_path) > 1500
