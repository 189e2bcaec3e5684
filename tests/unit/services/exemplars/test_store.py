"""Exemplar sets on disk: whole or absent, never of another revision than asked for, never outside the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.services.exemplars.sets import arrays, manifest, write

from maia.services.exemplars.dataset import picture_path, render_dataset
from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.store import ExemplarStore
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.png import embedded_scene
from maia.wire.errors import (
    InternalError,
    MaiaError,
    NotFoundError,
    PreconditionError,
)

NAMES = [
    "..",
    ".",
    "a/b",
    "a_b",
    "",
    ".hidden",
    "x" * 300,
    "python:a.b:c",
    "transformers:/a/b",
    "/etc",
    "a\0b",
    "ä",
    "Ä",
]


def test_a_set_of_the_revision_asked_for_comes_before_one_of_which_nobody_knows_it(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    for number, revision in enumerate(("r1", "")):
        write(store, manifest(revision))
        os.utime(store.folder_of(manifest(revision)) / "manifest.json", (1000 + number, 1000 + number))
    assert store.find("model", "layer.1", "r1").manifest.subject_revision == "r1"
    assert store.find("model", "layer.1").manifest.subject_revision == ""


def test_a_dataset_can_be_chosen(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    for name in ("toy", "other"):
        write(store, manifest().model_copy(update={"dataset": name}))
    for name in ("toy", "other"):
        assert store.find("model", "layer.1", "r1", name).manifest.dataset == name
    with pytest.raises(NotFoundError, match=r"exemplars of model in (toy, other|other, toy), not in 'third'"):
        store.find("model", "layer.1", dataset="third")


def test_another_revision_is_not_served(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest("r1"))
    assert store.find("model", "layer.1", "r1").manifest.subject_revision == "r1"
    with pytest.raises(
        NotFoundError, match="revision r1, not r2; build them: maia exemplars build --model model"
    ) as caught:
        store.find("model", "layer.1", "r2")
    assert caught.value.reason == "EXEMPLARS_MISSING"
    write(store, manifest("r2"))
    assert store.find("model", "layer.1", "r2").manifest.subject_revision == "r2"
    assert store.find("model", "layer.1", "r1").manifest.subject_revision == "r1"


def test_the_newest_set_is_served_when_no_revision_is_asked_for(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    for number, revision in enumerate(("r2", "r1")):
        write(store, manifest(revision))
        os.utime(store.folder_of(manifest(revision)) / "manifest.json", (1000 + number, 1000 + number))
    assert store.find("model", "layer.1").manifest.subject_revision == "r1"
    assert [found.subject_revision for found in store.manifests()] == ["r1", "r2"]


@pytest.mark.parametrize(("subject", "layer"), [("other", "layer.1"), ("model", "layer.2"), ("../..", "x"), ("", "")])
def test_what_is_not_there_says_how_to_build_it(tmp_path: Path, subject: str, layer: str) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    with pytest.raises(NotFoundError, match="maia exemplars build --model"):
        store.find(subject, layer)


def test_no_name_leads_outside_the_store_and_no_two_to_the_same_folder(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path / "store")
    for subject in NAMES:
        write(store, manifest(subject=subject))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"sets"}
    folders = {store.folder_of(manifest(subject=subject)) for subject in NAMES}
    assert len({folder.parent for folder in folders}) == len(NAMES)
    assert {folder.parent.parent for folder in folders} == {tmp_path / "store" / "sets"}
    for subject in NAMES:
        assert store.find(subject, "layer.1").manifest.subject == subject
    assert len(store.manifests()) == len(NAMES)


@pytest.mark.parametrize("dataset", ["..", "a/b", "x" * 300])
def test_neither_does_a_datasets_name(tmp_path: Path, dataset: str) -> None:
    store = ExemplarStore(tmp_path / "store")
    write(store, manifest().model_copy(update={"dataset": dataset}))
    assert store.folder_of(manifest().model_copy(update={"dataset": dataset})).parent == tmp_path / "store/sets/model"
    assert store.find("model", "layer.1", "", dataset).manifest.dataset == dataset


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)

    def fail_half_way() -> None:
        with store.writing(manifest()) as writer:
            writer.write_layer(0, arrays())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert store.manifests() == []


def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal\n"
        "from maia.services.exemplars.folders import new_folder\n"
        f"with new_folder(pathlib.Path({str(tmp_path / 'final')!r})) as building:\n"
        "    (building / 'half').write_text('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert not (tmp_path / "final").exists()
    assert len(list(tmp_path.iterdir())) == 1
    elsewhere = tmp_path / ".building-1@another-machine-1234abcd"
    elsewhere.mkdir()
    with new_folder(tmp_path / "final") as building:
        assert elsewhere.exists()
        elsewhere.rmdir()
        (building / "whole").write_text("x")
    assert [path.name for path in tmp_path.rglob("*")] == ["final", "whole"]


def test_of_two_builds_at_once_the_first_to_end_stays(tmp_path: Path) -> None:
    with new_folder(tmp_path / "final") as slow:
        (slow / "who").write_text("slow")
        with new_folder(tmp_path / "final") as fast:
            (fast / "who").write_text("fast")
    assert (tmp_path / "final" / "who").read_text() == "fast"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    (store.folder_of(manifest()) / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(InternalError, match="damaged"):
        store.manifests()


@pytest.mark.parametrize(("written", "advice"), [(3, "install that version"), (1, "remove .* and build them again")])
def test_a_set_of_another_version_is_told_apart_from_damage(tmp_path: Path, written: int, advice: str) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    path = store.folder_of(manifest()) / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "format": written, "more": 1}))
    with pytest.raises(PreconditionError, match=f"of format {written}, and this version reads 2: {advice}") as caught:
        store.find("model", "layer.1")
    assert caught.value.reason == "STORE_FORMAT"
    others: list[MaiaError] = []
    assert store.manifests(others) == []
    assert [other.reason for other in others] == ["STORE_FORMAT"]
    write(store, manifest("r2"))
    assert store.find("model", "layer.1").manifest.subject_revision == "r2"


def test_damage_of_one_subject_does_not_stop_another(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    for subject in ("one", "two"):
        write(store, manifest(subject=subject))
    (store.folder_of(manifest(subject="one")) / "manifest.json").write_text("{")
    assert store.find("two", "layer.1").statistics(0).threshold == 0.5
    with pytest.raises(InternalError, match=r"damaged or missing; remove .* and build the exemplars again$"):
        store.find("one", "layer.1")
    with pytest.raises(InternalError):
        store.manifests_of("one")
    assert [one.subject for one in store.manifests_of("two")] == ["two"]
    others: list[MaiaError] = []
    assert [one.subject for one in store.manifests(others)] == ["two"]
    assert [other.reason for other in others] == ["EXEMPLARS_DAMAGED"]


def test_a_set_without_its_manifest_is_not_taken_for_built(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    assert store.like(manifest()) is None
    write(store, manifest())
    assert store.like(manifest().model_copy(update={"samples": 99})) == manifest()
    assert store.like(manifest("r2")) is None
    (store.folder_of(manifest()) / "manifest.json").unlink()
    with pytest.raises(InternalError, match="remove"):
        store.like(manifest())


def test_pictures_that_were_cleaned_away_are_rendered_again(tmp_path: Path) -> None:
    dataset = render_dataset(tmp_path, 4)
    whole = dataset.read_many(range(4))
    picture_path(dataset.folder, 1).unlink()
    os.truncate(picture_path(dataset.folder, 3), 0)
    assert render_dataset(tmp_path, 4).read_many(range(4)) == whole
    assert len(list(dataset.folder.iterdir())) == 4


def test_the_dataset_is_rendered_once_and_carries_its_scenes(tmp_path: Path) -> None:
    done: list[int] = []
    dataset = render_dataset(tmp_path, 5, done.append)
    assert done == [1, 2, 3, 4, 5]
    assert embedded_scene(dataset.read(3)) == fixed_scene(3)
    changed = picture_path(dataset.folder, 0).stat().st_mtime_ns
    assert render_dataset(tmp_path, 5, done.append) == dataset
    assert picture_path(dataset.folder, 0).stat().st_mtime_ns == changed
    assert len(done) == 5
