"""Exemplar sets on disk: whole or absent, never of another revision than asked for, never outside the store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maia.services.exemplars.dataset import dataset_folder, picture_path, render_dataset
from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.model import Manifest, StoredLayer
from maia.services.exemplars.store import ExemplarStore, LayerArrays
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.png import embedded_scene
from maia.wire.errors import InternalError, InvalidRequestError, NotFoundError, OutOfRangeError


def manifest(revision: str = "r1", subject: str = "model") -> Manifest:
    layer = StoredLayer(name="layer.1", units=2, map_height=2, map_width=2)
    return Manifest(
        subject=subject,
        subject_revision=revision,
        dataset="toy",
        dataset_revision="d1",
        dataset_size=3,
        top=2,
        layers=(layer,),
    )


def write(store: ExemplarStore, described: Manifest) -> None:
    pictures = dataset_folder(store.root, "toy", "d1", 3)
    pictures.mkdir(parents=True, exist_ok=True)
    for index in range(3):
        picture_path(pictures, index).write_bytes(b"png %d" % index)
    with store.writing(described) as writer:
        writer.write_frames(np.array([[0, 0, 4, 4], [0, 1, 4, 5], [0, 0, 8, 8]], np.float64))
        writer.write_layer(
            0,
            LayerArrays(
                indices=np.array([[2, 0], [1, 2]]),
                activations=np.array([[9, 8], [7, 6]], np.float32),
                thresholds=np.array([0.5, 0.25], np.float32),
                maps=np.arange(16, dtype=np.float16).reshape(2, 2, 2, 2),
            ),
        )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    layer = store.find("model", "layer.1")
    first, second = layer.exemplars(1)
    assert (first.png, first.activation, first.dataset_index) == (b"png 1", 7.0, 1)
    assert (first.frame.top, first.frame.bottom) == (1, 5)
    assert second.map.tolist() == [[12, 13], [14, 15]]
    assert layer.threshold(1) == 0.25
    for unit in (-1, 2):
        with pytest.raises(OutOfRangeError) as caught:
            layer.exemplars(unit)
        assert caught.value.metadata["units"] == "2"


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


@pytest.mark.parametrize("subject", ["..", "a/b", "", ".hidden", "x" * 101])
def test_a_subject_cannot_write_outside_the_store(tmp_path: Path, subject: str) -> None:
    with pytest.raises(InvalidRequestError):
        write(ExemplarStore(tmp_path / "store"), manifest(subject=subject))


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)

    def fail_half_way() -> None:
        with store.writing(manifest()) as writer:
            writer.write_frames(np.zeros((3, 4)))
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
    with new_folder(tmp_path / "final") as building:
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


@pytest.mark.parametrize(
    "name", ["0/indices.npy", "0/activations.npy", "0/maps.npy", "frames.npy", "../../../datasets/toy-d1-3/000002.png"]
)
def test_damage_is_named_with_its_remedy(tmp_path: Path, name: str) -> None:
    damages: tuple[Callable[[Path], object], ...] = (lambda path: path.write_bytes(b""), Path.unlink)
    for number, damage in enumerate(damages):
        store = ExemplarStore(tmp_path / str(number))
        write(store, manifest())
        damage(store.folder_of(manifest()) / name)
        with pytest.raises(
            InternalError, match=r"damaged or missing; remove .* maia exemplars build --model model"
        ) as caught:
            store.find("model", "layer.1").exemplars(0)
        assert caught.value.reason == "EXEMPLARS_DAMAGED"


def test_arrays_of_another_shape_are_damage(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    np.save(store.folder_of(manifest()) / "0" / "thresholds.npy", np.zeros(1, np.float32))
    with pytest.raises(InternalError, match=r"thresholds\.npy is damaged"):
        store.find("model", "layer.1").threshold(1)


def test_damage_of_one_subject_does_not_stop_another(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    for subject in ("one", "two"):
        write(store, manifest(subject=subject))
    (store.folder_of(manifest(subject="one")) / "manifest.json").write_text("{")
    assert store.find("two", "layer.1").threshold(0) == 0.5
    with pytest.raises(InternalError, match="damaged"):
        store.find("one", "layer.1")


def test_a_set_without_its_manifest_is_not_taken_for_built(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    assert not store.has(manifest())
    write(store, manifest())
    assert store.has(manifest())
    (store.folder_of(manifest()) / "manifest.json").unlink()
    with pytest.raises(InternalError, match="remove"):
        store.has(manifest())


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
