"""Exemplars of the store as files: as the description has them, and the same after every further trip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.unit.services.interchange.upstream import Layer, files, hidden, noise, read, write

from maia.services.exemplars.model import KeptPicture, LayerArrays, Manifest, StoredLayer
from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.choosing import choose_layers
from maia.services.interchange.exporting import export_layers
from maia.services.interchange.importing import ImportChoice, import_sets
from maia.services.interchange.progress import Step
from maia.wire.errors import InternalError, NotFoundError, PreconditionError
from maia.wire.maps import Frame, masked_pixels
from maia.wire.pictures import Rgb, encode_png

TOP = 3


def measured(
    root: Path,
    *,
    sizes: tuple[tuple[int, int], ...] = ((300, 400), (224, 224), (500, 230), (140, 130)),
    units: tuple[int, ...] | None = None,
    model: str = "net",
    **changes: Any,
) -> ExemplarStore:
    """A set with maps, as a pass leaves it: pictures of (height, width) of which the central square was measured."""
    store = ExemplarStore(root)
    random = np.random.default_rng(1)
    rows = 4 if units is None else len(units)
    indices = np.array([[(row + rank) % len(sizes) for rank in range(TOP)] for row in range(rows)], np.int64)
    arrays = {
        "indices": indices,
        "activations": -np.sort(-random.normal(size=(rows, TOP)).astype(np.float32), axis=1),
        "maps": random.normal(size=(rows, TOP, 7, 7)).astype(np.float16),
        "thresholds": random.random(rows).astype(np.float32),
        "units": None if units is None else np.array(units, np.int64),
        **changes,
    }
    layer = StoredLayer(name="layer4", units=rows if units is None else 64, map_height=7, map_width=7)
    manifest = Manifest(
        subject=model,
        subject_revision="r1",
        dataset="val",
        dataset_revision="d1",
        dataset_size=len(sizes),
        top=TOP,
        layers=(layer,),
    )
    with store.writing(manifest) as writer:
        writer.write_layer(0, LayerArrays(**arrays))
        writer.write_pictures(
            KeptPicture(index, f"{index}.png", encode_png(picture(index, size)), Frame.centre_square(size[1], size[0]))
            for index, size in enumerate(sizes)
        )
        writer.write_report([])
    return store


def picture(index: int, size: tuple[int, int]) -> Rgb:
    """Smooth, so that rounding of a resize is all that may differ."""
    small = np.random.default_rng(index).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def exported(store: ExemplarStore, root: Path, model: str = "net", **chosen: Any) -> dict[str, bytes]:
    export_layers(choose_layers(store, model, **chosen), root)
    return files(root)


def test_a_measured_set_is_written_as_the_description_says(tmp_path: Path) -> None:
    store = measured(tmp_path / "store")
    steps: list[Step] = []
    (told,) = export_layers(choose_layers(store, "net"), tmp_path / "out", steps.append)
    assert told.folder == tmp_path / "out" / "net" / "val" / "layer4"
    assert (told.units, told.top, told.notes) == (4, TOP, ())
    assert steps[-1] == Step("writing", 12, 12)
    layer = read(told.folder)
    assert layer.images.dtype == layer.masks.dtype == np.uint8
    assert layer.images.shape == (4, TOP, 3, 224, 224)
    assert layer.masks.shape == (4, TOP, 1, 224, 224)
    assert set(np.unique(layer.masks)) == {0, 1}
    assert layer.units is None
    arrays = store.find("net", "layer4").arrays
    assert layer.ids is not None
    assert np.array_equal(layer.ids, arrays.indices)
    lines = (told.folder / "activations.csv").read_text().splitlines()
    assert lines[0] == ",".join(f"{value:.5e}" for value in arrays.activations[0].tolist())
    assert arrays.thresholds is not None
    assert (told.folder / "thresholds.csv").read_text().splitlines() == [f"{one:.5e}" for one in arrays.thresholds]


def test_pictures_are_cut_as_the_dataset_transform_does_and_masks_with_them(tmp_path: Path) -> None:
    sizes = ((300, 400), (224, 224), (500, 230), (140, 130))
    store = measured(tmp_path / "store", sizes=sizes)
    exported(store, tmp_path / "out")
    layer = read(tmp_path / "out" / "net" / "val" / "layer4")
    assert layer.ids is not None
    found = store.find("net", "layer4")
    for row, rank in np.ndindex(4, TOP):
        index = int(layer.ids[row, rank])
        height, width = sizes[index]
        original = picture(index, sizes[index])
        exemplar = found.exemplars(row)[rank]
        threshold = found.statistics(row).threshold
        assert exemplar.map is not None
        assert threshold is not None
        mask = masked_pixels((height, width), exemplar.map, exemplar.picture.frame, threshold)
        if (height, width) == (224, 224):  # measured whole: it stays as it is
            assert np.array_equal(layer.images[row, rank], original.transpose(2, 0, 1))
            assert np.array_equal(layer.masks[row, rank, 0], mask)
            continue
        expected = resized_and_cropped(Image.fromarray(original))
        assert np.abs(layer.images[row, rank].transpose(1, 2, 0).astype(int) - expected).max() <= 1
        as_picture = Image.fromarray(mask.astype(np.uint8) * 255)
        assert (layer.masks[row, rank, 0] != (resized_and_cropped(as_picture) >= 128)).mean() < 0.015


def resized_and_cropped(image: Image.Image) -> Any:
    """Resize(256) and CenterCrop(224) of torchvision, written out."""
    width, height = image.size
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    left, top = round((size[0] - 224) / 2.0), round((size[1] - 224) / 2.0)
    box = left, top, left + 224, top + 224
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR).crop(box)).astype(int)


def test_a_picture_of_224_that_was_measured_in_part_is_cut(tmp_path: Path) -> None:
    store = measured(tmp_path / "a", sizes=((224, 224),), indices=np.zeros((4, TOP), np.int64))
    folder = store.find("net", "layer4").folder
    np.save(folder / "frames.npy", np.array([[14.0, 14.0, 210.0, 210.0]]))
    exported(store, tmp_path / "out")
    layer = read(tmp_path / "out" / "net" / "val" / "layer4")
    expected = resized_and_cropped(Image.fromarray(picture(0, (224, 224))))
    assert np.abs(layer.images[0, 0].transpose(1, 2, 0).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("units", [None, (3, 17, 40), (63,)])
def test_from_the_first_export_on_a_round_trip_changes_no_byte(units: tuple[int, ...] | None, tmp_path: Path) -> None:
    first = exported(measured(tmp_path / "a", units=units), tmp_path / "out1")
    assert ("net/val/layer4/units.npy" in first) == (units is not None)
    store = ExemplarStore(tmp_path / "b")
    import_sets(tmp_path / "out1", store)
    assert exported(store, tmp_path / "out2") == first


@settings(max_examples=40)
@given(data=st.data())
def test_files_of_others_come_out_as_they_went_in(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("trip")
    units = data.draw(st.integers(1, 4))
    top = data.draw(st.integers(1, 5))
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    layer = noise(units, top, size, pool=data.draw(st.integers(1, 6)), seed=data.draw(st.integers(0, 99)))
    numbers = st.floats(-(2.0**127), 2.0**127, width=32)
    drawn = data.draw(st.lists(numbers, min_size=units * top, max_size=units * top))
    layer = layer.with_(activations=-np.sort(-np.array(drawn).reshape(units, top), axis=1))
    if data.draw(st.booleans()):
        some = data.draw(st.lists(st.integers(0, 4000), min_size=units, max_size=units, unique=True))
        layer = layer.with_(units=np.array(sorted(some)))
    if data.draw(st.booleans()):
        layer = layer.with_(thresholds=None)
    folder = write(tmp_path / "in" / "net" / "imagenet" / "layer4", layer)
    store = ExemplarStore(tmp_path / "store")
    import_sets(folder, store)
    first = exported(store, tmp_path / "out1")
    all_units = layer.units is not None and layer.units.tolist() == list(range(units))
    written = {name: content for name, content in files(tmp_path / "in").items() if not (all_units and "units" in name)}
    if (np.array(drawn) != 0).all():  # "-0.00000e+00" may change places with "0.00000e+00"
        assert first == written
    else:
        same_arrays(read(tmp_path / "out1" / "net" / "imagenet" / "layer4"), read(folder))
    again = ExemplarStore(tmp_path / "again")
    import_sets(tmp_path / "out1", again)
    assert exported(again, tmp_path / "out2") == first


def same_arrays(one: Layer, other: Layer) -> None:
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.masks, other.masks)
    assert np.array_equal(one.activations, other.activations)
    assert one.ids is not None
    assert other.ids is not None
    assert np.array_equal(one.ids, other.ids)


@pytest.mark.parametrize("units", [1, 3])
def test_a_set_without_ids_has_them_after_the_first_export(units: int, tmp_path: Path) -> None:
    layer = noise(units).with_(ids=None)
    write(tmp_path / "in" / "net" / "imagenet" / "layer4", layer)
    for number in range(3):
        store = ExemplarStore(tmp_path / f"store{number}")
        import_sets(tmp_path / ("in" if number == 0 else f"out{number - 1}"), store)
        written = exported(store, tmp_path / f"out{number}")
    assert written == files(tmp_path / "out0")
    came_out = read(tmp_path / "out2" / "net" / "imagenet" / "layer4")
    assert np.array_equal(came_out.images, layer.images)


def test_names_that_are_no_folders_come_back(tmp_path: Path) -> None:
    store = measured(tmp_path / "store", model="timm:org/net.in1k 100%")
    first = exported(store, tmp_path / "out", "timm:org/net.in1k 100%")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"timm:org%2Fnet.in1k 100%25"}
    (imported,) = import_sets(tmp_path / "out", ExemplarStore(tmp_path / "b"))
    assert imported.manifest.subject == "timm:org/net.in1k 100%"
    assert exported(ExemplarStore(tmp_path / "b"), tmp_path / "out2", "timm:org/net.in1k 100%") == first


def test_fewer_pictures_than_places_are_fewer_columns_or_marked(tmp_path: Path) -> None:
    indices = np.array([[0, 1, -1], [1, -1, -1], [0, 1, -1], [0, 1, -1]], np.int64)
    activations = np.where(indices >= 0, np.array([[3, 2, 1]]), -np.inf).astype(np.float32)
    first = exported(measured(tmp_path / "a", indices=indices, activations=activations), tmp_path / "out")
    layer = read(tmp_path / "out" / "net" / "val" / "layer4")
    assert layer.ids is not None
    assert layer.ids.tolist() == [[0, 1], [1, -1], [0, 1], [0, 1]]
    assert layer.activations[1].tolist() == [3, -np.inf]
    assert not layer.images[1, 1].any()
    import_sets(tmp_path / "out", ExemplarStore(tmp_path / "b"))
    assert exported(ExemplarStore(tmp_path / "b"), tmp_path / "out2") == first
    none = measured(tmp_path / "c", indices=np.full((4, TOP), -1, np.int64))
    with pytest.raises(PreconditionError, match="have no picture that could be written"):
        exported(none, tmp_path / "out3")


def test_unknown_thresholds_are_said(tmp_path: Path) -> None:
    store = measured(tmp_path / "a", thresholds=None)
    (told,) = export_layers(choose_layers(store, "net"), tmp_path / "out")
    assert "no thresholds.csv was written, which MAIA needs" in told.notes[0]
    layer = read(told.folder)
    assert layer.thresholds is None
    assert 0 < layer.masks[0, 0].mean() < 0.15  # about what lies above the map's own 0.95 quantile
    known = np.array([1, np.nan, 2, 3], np.float32)
    (told,) = export_layers(choose_layers(measured(tmp_path / "b", thresholds=known), "net"), tmp_path / "out2")
    assert told.notes == ("1 units of layer4 have no threshold: nan",)
    assert (told.folder / "thresholds.csv").read_text().splitlines()[1] == "nan"


def test_layers_and_datasets_are_chosen_by_name(tmp_path: Path) -> None:
    store = ExemplarStore(tmp_path / "store")
    for dataset in ("imagenet", "places"):
        for name in ("layer1", "layer2", "layer10"):
            write(tmp_path / "in" / "net" / dataset / name, noise(2, 2, pool=3))
    import_sets(tmp_path / "in", store, ImportChoice(dataset="places"))
    import_sets(tmp_path / "in", store, ImportChoice(dataset="imagenet"))
    newest = choose_layers(store, "net")
    assert [(one.manifest.dataset, one.layer.name) for one in newest] == [
        ("imagenet", "layer1"),
        ("imagenet", "layer2"),
        ("imagenet", "layer10"),
    ]
    (one,) = choose_layers(store, "net", "places", ("layer2",))
    assert (one.manifest.dataset, one.layer.name) == ("places", "layer2")
    for chosen, message in (
        ({"dataset": "cars"}, "there is no dataset 'cars'; there is imagenet, places"),
        ({"names": ("layer3",)}, "there is no layer 'layer3'; there is layer1, layer2, layer10"),
    ):
        with pytest.raises(NotFoundError, match=message):
            choose_layers(store, "net", **chosen)
    with pytest.raises(NotFoundError, match="no exemplars of 'other'"):
        choose_layers(store, "other")


def test_layers_imported_one_by_one_are_exported_together_but_never_with_another_revision(tmp_path: Path) -> None:
    store = measured(tmp_path / "store")
    for name in ("layer1", "layer2"):
        import_sets(write(tmp_path / "in" / "net" / "val" / name, noise(2, 2)), store)
    assert [one.layer.name for one in choose_layers(store, "net")] == ["layer1", "layer2"]


def test_what_is_there_already_is_not_touched(tmp_path: Path) -> None:
    store = measured(tmp_path / "store")
    first = exported(store, tmp_path / "out")
    with pytest.raises(PreconditionError, match="layer4 is there already; remove it") as caught:
        exported(store, tmp_path / "out")
    assert caught.value.reason == "OUTPUT_EXISTS"
    assert files(tmp_path / "out") == first


def test_a_damaged_set_of_another_model_does_not_matter(tmp_path: Path) -> None:
    store = measured(tmp_path / "store")
    folder = tmp_path / "store" / "sets" / "another" / "set"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{")
    assert exported(store, tmp_path / "out")


def test_a_failed_export_leaves_nothing(tmp_path: Path) -> None:
    store = measured(tmp_path / "store")
    pack = store.find("net", "layer4").folder / "pictures.bin"
    data = bytearray(pack.read_bytes())
    data[-400:] = bytes(400)
    pack.write_bytes(bytes(data))
    with pytest.raises(InternalError, match="build or import the exemplars again") as caught:
        exported(store, tmp_path / "out")
    assert caught.value.reason == "EXEMPLARS_DAMAGED"
    assert not hidden(tmp_path / "out")


def test_a_folder_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(PreconditionError, match=r"nothing can be written to .*out: Not a directory"):
        exported(measured(tmp_path / "store"), tmp_path / "out")
