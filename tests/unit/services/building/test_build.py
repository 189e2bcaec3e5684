"""Builds with real networks and folders: every layout of answers, what is built once, and merging without a model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from tests.unit.services.building.planted import files_of
from tests.unit.services.exemplars.sets import arrays, manifest, write
from tests.unit.services.runtime.torchvision_operators import define_missing_operators

from maia.services.building.build import Build, _beyond, build, merge
from maia.services.building.passing import Step, Wanted
from maia.services.building.plan import Shard
from maia.services.building.sketch import ERROR
from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.store import ExemplarStore
from maia.services.subject.backends.networks.options import DirectionsFile, NetworkOptions, Precision
from maia.services.subject.hosting import load_subject
from maia.services.subject.model import Subject
from maia.wire.errors import InternalError, InvalidRequestError, MaiaError, NotFoundError, PreconditionError
from maia.wire.pictures import decode

TINY = "python:tests.unit.services.building.networks:tiny"
COUNT = 12


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of noise, one of them twice and one of them broken."""
    folder = tmp_path_factory.mktemp("data") / "noise"
    folder.mkdir()
    random = np.random.default_rng(2)
    for number in range(COUNT):
        height, width = random.integers(16, 40, 2)
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{number:02}.png")
    (folder / "04.png").write_bytes((folder / "01.png").read_bytes())
    (folder / "07.png").write_bytes(b"no picture")
    return folder


READABLE = [slot for slot in range(COUNT) if slot not in {4, 7}]


def asked(pictures: Path, store: Path, **changed: Any) -> Build:
    options = NetworkOptions(device="cpu")
    made = Build(TINY, str(pictures), store, wanted=Wanted(batch=4, top=3), options=options)
    return replace(made, **changed)


def every_map(subject: Subject, pictures: Path, layer: str, batch: int = 4) -> NDArray[np.float32]:
    """Float32, (readable pictures, units, h, w), looked at in the same batches."""
    units = next(one.units for one in subject.info.layers if one.name == layer)
    found = []
    for start in range(0, COUNT, batch):
        slots = [slot for slot in range(start, min(start + batch, COUNT)) if slot in READABLE]
        inputs = [subject.prepare(decode((pictures / f"{slot:02}.png").read_bytes())) for slot in slots]
        answers = subject.look(inputs, [layer])[layer]
        found += [answers.maps(row, range(units)) for row in range(len(slots))]
    return np.stack(found)


def check(layer: ExemplarLayer, values: NDArray[np.float32]) -> None:
    activations = values.max(axis=(2, 3))
    arrays = layer.arrays
    for unit in range(values.shape[1]):
        order = np.lexsort((READABLE, -activations[:, unit]))[:3]
        assert arrays.indices[unit].tolist() == [READABLE[place] for place in order]
        assert arrays.activations[unit].tolist() == activations[order, unit].tolist()
        assert arrays.maps is not None
        assert np.array_equal(arrays.maps[unit], values[order, unit].astype(np.float16))
        own = values[:, unit].astype(np.float64)
        known = layer.statistics(unit)
        assert known.mean is not None
        assert known.threshold is not None
        assert abs(known.mean - own.mean()) <= 1e-9 * np.abs(own).mean()
        below, above = (np.quantile(own, 0.99, method=how) for how in ("lower", "higher"))
        assert below - abs(below) * ERROR <= known.threshold <= above + abs(above) * ERROR


@pytest.mark.parametrize("precision", list(Precision))
def test_maps_and_vectors_of_every_precision(pictures: Path, tmp_path: Path, precision: Precision) -> None:
    options = NetworkOptions(device="cpu", precision=precision)
    built = build(asked(pictures, tmp_path, options=options))
    assert built.manifest is not None
    assert [layer.name for layer in built.manifest.layers] == ["0", "1", "2", "3", "4", "5"]
    assert [(layer.map_height, layer.map_width) for layer in built.manifest.layers[2:4]] == [(6, 6), (1, 1)]
    subject = load_subject(TINY, options)
    for name in ("0", "2", "5"):
        check(ExemplarStore(tmp_path).find(TINY, name, subject.info.revision), every_map(subject, pictures, name))


def test_directions(pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "directions.safetensors"
    save_file({"directions": torch.eye(8)[:3]}, file, metadata={"layer": "2", "name": "axes"})
    options = NetworkOptions(device="cpu", directions=(DirectionsFile(file),))
    build(asked(pictures, tmp_path, options=options, wanted=Wanted(("2@axes",), 4, 3)))
    subject = load_subject(TINY, options)
    layer = ExemplarStore(tmp_path).find(TINY, "2@axes")
    assert layer.layer.units == 3
    check(layer, every_map(subject, pictures, "2@axes"))


def test_tokens(pictures: Path, tmp_path: Path) -> None:
    define_missing_operators()
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config: Any = ViTConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, image_size=16, patch_size=4
    )
    torch.manual_seed(1)
    ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vit")
    name = f"transformers:{tmp_path / 'vit'}"
    built = build(asked(pictures, tmp_path / "store", subject=name))
    assert built.manifest is not None
    maps = [layer.name for layer in built.manifest.layers if (layer.map_height, layer.map_width) == (4, 4)]
    subject = load_subject(name, NetworkOptions(device="cpu"))
    wide = [layer.name for layer in subject.info.layers if layer.units == 12]
    assert len(wide) >= 2
    for layer in (maps[0], *wide):
        check(ExemplarStore(tmp_path / "store").find(name, layer), every_map(subject, pictures, layer))


def test_synthetic_neurons(tmp_path: Path) -> None:
    steps: list[Step] = []
    made = Build("scene-neurons", "scenes", tmp_path, Wanted(top=5), size=20)
    built = build(made, steps.append)
    assert built.manifest is not None
    assert {step.doing for step in steps} == {"rendering", "measuring", "gathering"}
    assert (built.manifest.dataset, built.manifest.dataset_size) == ("scenes-v1", 20)
    subject = load_subject("scene-neurons", NetworkOptions())
    for layer in subject.info.layers:
        found = ExemplarStore(tmp_path).find("scene-neurons", layer.name, subject.info.revision)
        (best, *_) = found.exemplars(layer.units - 1)
        answers = subject.look([subject.prepare(decode(best.picture.data))], [layer.name])[layer.name]
        assert answers.maps(0, [layer.units - 1]).max() == np.float32(best.activation)


def test_a_set_is_built_once_and_an_equal_pass_finds_it(pictures: Path, tmp_path: Path) -> None:
    first = build(asked(pictures, tmp_path))
    assert first.manifest is not None
    folder = ExemplarStore(tmp_path).folder_of(first.manifest)
    before = files_of(folder)
    assert [one.title for one in first.skipped] == ["04.png", "07.png"]
    assert first.skipped[0].why == "the same picture as 01.png"
    assert first.skipped[1].why.startswith("cannot be read")
    report = json.loads((folder / "report.json").read_bytes())
    assert [(one["index"], one["title"]) for one in report["skipped"]] == [(4, "04.png"), (7, "07.png")]
    steps: list[Step] = []
    again = build(asked(pictures, tmp_path), steps.append)
    assert (again.manifest, again.anew) == (first.manifest, False)
    assert not [step for step in steps if step.doing == "measuring"]
    assert files_of(folder) == before
    other = build(asked(pictures, tmp_path, wanted=Wanted(("2",), 4, 3)))
    assert other.anew
    assert len(ExemplarStore(tmp_path).manifests()) == 2


def test_a_set_that_lacks_pictures_says_how_to_build_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "noise"
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (20, 20), (number * 30, 0, 0)).save(folder / f"{number}.png")
    mended = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(b"?" * len(mended))
    wanted = asked(folder, tmp_path / "store")
    assert [one.slot for one in build(wanted).skipped] == [3]
    (folder / "3.png").write_bytes(mended)
    again = build(wanted)
    assert not again.anew
    assert "1 of the pictures were left out" in again.notes[-1]
    assert "--anew" in again.notes[-1]
    anew = build(replace(wanted, anew=True))
    assert (anew.anew, anew.skipped) == (True, ())
    assert build(wanted).notes == ()


@pytest.mark.parametrize(("scale", "noted"), [(1.0, False), (1e9, True), (1e-9, True)])
def test_units_beyond_half_precision_are_noted(tmp_path: Path, scale: float, noted: bool) -> None:
    store = ExemplarStore(tmp_path)
    described = manifest()
    write(store, described, arrays(activations=np.array([[9, 8], [7, 6]], np.float32) * np.float32(scale)))
    assert any("half precision" in note for note in _beyond(store, described)) == noted


def test_parts_are_merged_without_the_model(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build(asked(pictures, tmp_path / "one")).manifest
    assert whole is not None
    for index in (2, 0, 1):
        built = build(asked(pictures, tmp_path / "many", shard=Shard(index, 3)))
        assert built.manifest is None
    monkeypatch.setattr("maia.services.building.build.load_subject", None)
    merged = merge(Build("", str(pictures), tmp_path / "many"))
    assert merged.manifest == whole
    folders = [ExemplarStore(tmp_path / name).folder_of(whole) for name in ("one", "many")]
    assert files_of(folders[0]) == files_of(folders[1])


def test_parts_of_a_pass_that_was_cut_otherwise_and_given_up_do_not_hinder(pictures: Path, tmp_path: Path) -> None:
    for count, indices in ((3, (0, 1)), (2, (0, 1)), (16, (3,))):
        for index in indices:
            build(asked(pictures, tmp_path, shard=Shard(index, count)))
    assert merge(Build(TINY, str(pictures), tmp_path)).manifest is not None


def refusal(made: Build) -> MaiaError:
    with pytest.raises(MaiaError) as caught:
        merge(made)
    assert "\n" not in caught.value.message
    return caught.value


def test_what_cannot_be_merged_says_why(pictures: Path, tmp_path: Path) -> None:
    made = Build("", str(pictures), tmp_path)
    error = refusal(made)
    assert isinstance(error, NotFoundError)
    assert error.reason == "PARTS_MISSING"
    build(asked(pictures, tmp_path, shard=Shard(1, 3)))
    error = refusal(made)
    assert isinstance(error, PreconditionError)
    assert error.metadata["missing"] == "0,2"
    assert refusal(replace(made, subject="another")).reason == "PARTS_MISSING"
    assert refusal(replace(made, size=5)).reason == "PARTS_MISSING"
    build(asked(pictures, tmp_path, shard=Shard(1, 3), wanted=Wanted(("2",), 8, 3)))
    error = refusal(made)
    assert error.reason == "PASS_AMBIGUOUS"
    assert "1 layers, batches of 8" in error.message
    for state in (tmp_path / "passes").glob("*/1-of-3.npz"):
        state.write_bytes(b"x")
    error = refusal(made)
    assert isinstance(error, InternalError)
    assert error.reason == "STATE_DAMAGED"


def test_a_damaged_part_of_another_pass_does_not_hinder(pictures: Path, tmp_path: Path) -> None:
    for index in (0, 1):
        build(asked(pictures, tmp_path, shard=Shard(index, 2)))
    made = Build(TINY, str(pictures), tmp_path)
    other = tmp_path / "passes" / "another" / "0-of-2.npz"
    other.parent.mkdir()
    other.write_bytes(b"x")
    merged = merge(made)
    assert merged.manifest is not None
    assert [note for note in merged.notes if str(other) in note]
    error = refusal(replace(made, size=5))
    assert (error.reason, error.metadata["path"]) == ("STATE_DAMAGED", str(other))


def test_another_sample_of_the_same_pass_is_another_set(pictures: Path, tmp_path: Path) -> None:
    sizes = []
    for samples in (4, 2):
        built = build(asked(pictures, tmp_path, wanted=Wanted(("2",), 4, 3, samples)))
        assert built.anew
        assert built.manifest is not None
        sizes.append(built.manifest.sample_size)
    assert sizes == [4, 2]
    assert len(ExemplarStore(tmp_path).manifests()) == 2


@pytest.mark.parametrize(
    ("shard", "says"),
    [
        (Shard(3, 3), "there is no part 3 of 3; they are numbered 0 to 2"),
        (Shard(-1, 3), "there is no part -1 of 3"),
        (Shard(0, 0), "cannot be cut into 0 parts"),
    ],
)
def test_a_part_that_cannot_be_is_refused(pictures: Path, tmp_path: Path, shard: Shard, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        build(asked(pictures, tmp_path, shard=shard))


def test_a_set_of_a_newer_version_is_not_touched(pictures: Path, tmp_path: Path) -> None:
    manifest = build(asked(pictures, tmp_path)).manifest
    assert manifest is not None
    path = ExemplarStore(tmp_path).folder_of(manifest) / "manifest.json"
    told = json.loads(path.read_bytes())
    path.write_text(json.dumps({**told, "format": 3, "news": True}))
    before = files_of(path.parent)
    with pytest.raises(PreconditionError, match="are of format 3, and this version reads 2: install that") as caught:
        build(asked(pictures, tmp_path))
    assert caught.value.reason == "STORE_FORMAT"
    assert files_of(path.parent) == before


def test_a_store_that_is_a_file_is_named(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(PreconditionError, match=r"nothing can be written in .*file/store: Not a directory") as caught:
        build(asked(pictures, tmp_path / "file" / "store"))
    assert caught.value.reason == "STORE_UNWRITABLE"
