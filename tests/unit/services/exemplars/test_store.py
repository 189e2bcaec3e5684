"""Exemplar sets on disk: whole or absent, never of another revision than asked for, never outside the store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from maia.services.exemplars.dataset import picture_path, render_dataset
from maia.services.exemplars.folders import new_folder
from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import KeptPicture, LayerArrays, Manifest, Statistics, StoredLayer
from maia.services.exemplars.store import ExemplarStore
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.png import embedded_scene
from maia.wire.errors import (
    InternalError,
    InvalidRequestError,
    MaiaError,
    NotFoundError,
    OutOfRangeError,
    PreconditionError,
)
from maia.wire.maps import Frame


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


def pictures(count: int = 3) -> Iterator[KeptPicture]:
    for index in range(count):
        yield KeptPicture(index, f"{index}.png", b"png %d" % index, Frame(0, index, 4, 4 + index))


def arrays(**changed: Any) -> LayerArrays:
    given: dict[str, Any] = {
        "indices": np.array([[2, 0], [1, 2]]),
        "activations": np.array([[9, 8], [7, 6]], np.float32),
        "maps": np.arange(16, dtype=np.float16).reshape(2, 2, 2, 2),
        "thresholds": np.array([0.5, 0.25], np.float32),
    }
    return LayerArrays(**{**given, **changed})


def write(
    store: ExemplarStore, described: Manifest, layer: LayerArrays | None = None, samples: Sequence[int] = ()
) -> None:
    with store.writing(described) as writer:
        writer.write_layer(0, layer or arrays())
        writer.write_pictures(pictures(), samples)
        writer.write_report([])


def test_what_was_written_is_read(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    layer = store.find("model", "layer.1")
    first, second = layer.exemplars(1)
    assert (first.picture.data, first.activation, first.picture.index) == (b"png 1", 7.0, 1)
    assert (first.picture.title, first.picture.frame) == ("1.png", Frame(0, 1, 4, 5))
    assert second.map is not None
    assert second.map.tolist() == [[12, 13], [14, 15]]
    assert (first.mask, second.mask) == (None, None)
    assert layer.statistics(1) == Statistics(0.25)
    assert [one.picture.index for one in layer.exemplars(0, 1)] == [2]
    for unit in (-1, 2):
        with pytest.raises(OutOfRangeError) as caught:
            layer.exemplars(unit)
        assert caught.value.metadata["units"] == "2"


def test_pictures_that_do_not_fit_into_an_answer_are_not_read(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    layer = store.find("model", "layer.1")
    assert len(layer.exemplars(0, most_bytes=len(b"png 0png 2"))) == 2
    with pytest.raises(InvalidRequestError, match="these 2 pictures have 10 bytes, and at most 9 fit") as caught:
        layer.exemplars(0, most_bytes=9)
    assert caught.value.reason == "REQUEST_TOO_LARGE"
    assert len(layer.exemplars(0, 1, most_bytes=9)) == 1


def test_statistics_are_a_units_own(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    edges, counts = np.array([[0, 1, 2], [3, 4, 5]], np.float32), np.array([[1, 2], [3, 4]])
    write(
        store,
        manifest(),
        arrays(
            mean=np.array([0.5, 1.5]),
            density=np.array([0.1, 0.2]),
            edges=edges,
            histogram=counts,
            thresholds=np.array([np.nan, 3], np.float32),
        ),
    )
    layer = store.find("model", "layer.1")
    known = layer.statistics(1)
    assert (known.threshold, known.mean, known.density) == (3, 1.5, 0.2)
    assert known.edges is not None
    assert known.histogram is not None
    assert (known.edges.tolist(), known.histogram.tolist()) == ([3, 4, 5], [3, 4])
    assert layer.statistics(0).threshold is None


def test_a_unit_with_fewer_pictures_than_others_has_those(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest(), arrays(indices=np.array([[2, -1], [-1, -1]])))
    layer = store.find("model", "layer.1")
    assert [one.picture.index for one in layer.exemplars(0)] == [2]
    assert layer.exemplars(1) == []


def test_a_set_of_some_units_says_so_for_the_others(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    few = manifest().model_copy(update={"layers": (manifest().layers[0].model_copy(update={"units": 9}),)})
    write(store, few, arrays(units=np.array([3, 7])))
    layer = store.find("model", "layer.1")
    assert [one.picture.index for one in layer.exemplars(7)] == [1, 2]
    assert layer.statistics(3).threshold == 0.5
    for unit in (0, 5, 8):
        for ask in (layer.exemplars, layer.statistics):
            with pytest.raises(NotFoundError, match=f"exemplars for 2 units of layer.1, not for unit {unit}"):
                ask(unit)
    with pytest.raises(OutOfRangeError, match="units 0 to 8, not 9"):
        layer.exemplars(9)


def test_masks_are_read_bit_by_bit(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    masks = np.random.default_rng(1).integers(0, 2, (2, 2, 5, 3)).astype(np.bool_)
    layer = StoredLayer(name="layer.1", units=2, map_height=5, map_width=3)
    imported = manifest("").model_copy(update={"regions": "masks", "layers": (layer,)})
    bits = np.packbits(masks.reshape(2, 2, 15), axis=-1)
    write(store, imported, arrays(maps=None, masks=bits, thresholds=None))
    assert store.folder_of(imported).name.startswith("imported-toy-d1-")
    found = store.find("model", "layer.1", "whatever revision")
    assert found.statistics(0).threshold is None
    for unit in range(2):
        for rank, exemplar in enumerate(found.exemplars(unit)):
            assert exemplar.map is None
            assert exemplar.mask is not None
            assert np.array_equal(exemplar.mask, masks[unit, rank])


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


COUNT = 40


@pytest.fixture
def sampled(tmp_path: Path) -> ExemplarLayer:
    """Pictures 0 to 39 are the sample; unit 0 answers to picture p with (7 p) mod 40, unit 1 always the same."""
    described = manifest().model_copy(update={"samples": COUNT, "dataset_size": COUNT})
    activations = np.array([np.arange(COUNT) * 7 % COUNT, np.full(COUNT, 3)], np.float32)
    store = ExemplarStore(tmp_path)
    with store.writing(described) as writer:
        writer.write_layer(0, arrays(sampled=activations))
        writer.write_pictures(pictures(COUNT), range(COUNT))
    return store.find("model", "layer.1")


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_sample_lies_between_the_quantiles(sampled: ExemplarLayer, one: float, other: float, most: int) -> None:
    low, high = sorted((one, other))
    assume(low < high)
    found = sampled.sampled(0, low, high, most)
    values = [exemplar.activation for exemplar in found]
    own = np.arange(COUNT)
    least, greatest = np.quantile(own, low, method="lower"), np.quantile(own, high, method="higher")
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)
    assert all(least <= value <= greatest for value in values)
    there = int(np.ceil(high * COUNT)) - int(np.floor(low * COUNT))
    assert len(values) == min(most, there) >= 1
    assert all(exemplar.picture.index * 7 % COUNT == exemplar.activation for exemplar in found)
    assert {(exemplar.map is None, exemplar.mask is None) for exemplar in found} == {(True, True)}


def test_a_sample_is_spread_evenly_over_what_there_is(sampled: ExemplarLayer) -> None:
    whole = [exemplar.activation for exemplar in sampled.sampled(0, 0, 1, COUNT)]
    assert whole == list(range(COUNT - 1, -1, -1))
    some = [exemplar.activation for exemplar in sampled.sampled(0, 0, 1, 4)]
    assert some == [39, 26, 13, 0]
    assert [exemplar.activation for exemplar in sampled.sampled(0, 0.5, 0.75, 3)] == [29, 25, 20]
    assert {exemplar.activation for exemplar in sampled.sampled(1, 0.2, 0.4, 5)} == {3}


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


@pytest.mark.parametrize(
    "name",
    ["0/indices.npy", "0/activations.npy", "0/maps.npy", "frames.npy", "pictures.npy", "pictures.bin", "titles.json"],
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
        store.find("model", "layer.1").statistics(1)


def test_what_was_cut_off_is_damage(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest())
    path = store.folder_of(manifest()) / "pictures.bin"
    os.truncate(path, path.stat().st_size - 1)
    assert [one.picture.data for one in store.find("model", "layer.1").exemplars(1, 1)] == [b"png 1"]
    with pytest.raises(InternalError, match="damaged"):
        store.find("model", "layer.1").exemplars(0)


def test_a_set_that_took_the_place_of_another_is_read_afresh(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path)
    write(store, manifest(""))
    assert store.find("model", "layer.1").exemplars(0)[0].activation == 9
    shutil.rmtree(store.folder_of(manifest("")))
    write(store, manifest(""), arrays(activations=np.array([[5, 4], [3, 2]], np.float32)))
    assert store.find("model", "layer.1").exemplars(0)[0].activation == 5


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
