"""Files of MAIA and MILAN into the store: what comes out of it is what was in them, and wrong files leave nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.services.interchange.upstream import Layer, hidden, masked_as_maia, noise, write

from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.importing import ImportChoice, import_sets
from maia.services.interchange.progress import Step
from maia.wire.errors import InvalidRequestError, NotFoundError, PreconditionError
from maia.wire.maps import Frame, darken
from maia.wire.pictures import decode, read_header


@pytest.fixture
def store(tmp_path: Path) -> ExemplarStore:
    return ExemplarStore(tmp_path / "store")


def same_as_files(layer: Layer, store: ExemplarStore, name: str = "layer4", model: str = "net") -> None:
    found = store.find(model, name)
    units = range(len(layer.images)) if layer.units is None else layer.units.tolist()
    for row, unit in enumerate(units):
        exemplars = found.exemplars(unit)
        assert len(exemplars) == layer.images.shape[1]
        for rank, exemplar in enumerate(exemplars):
            rgb = decode(exemplar.picture.data)
            assert exemplar.mask is not None
            assert read_header(exemplar.picture.data).media_type == "image/png"
            assert exemplar.picture.frame == Frame.whole(rgb.shape[1], rgb.shape[0])
            assert np.array_equal(rgb, layer.images[row, rank].transpose(1, 2, 0))
            assert np.array_equal(darken(rgb, exemplar.mask), masked_as_maia(layer, row, rank))
            assert exemplar.activation == pytest.approx(layer.activations[row, rank], rel=1e-5)
            if layer.ids is not None:
                assert exemplar.picture.index == layer.ids[row, rank]
        threshold = found.statistics(unit).threshold
        if layer.thresholds is None:
            assert threshold is None
        else:
            assert threshold == pytest.approx(layer.thresholds[row], rel=1e-5)


def test_what_is_in_the_files_is_in_the_store(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise()
    folder = write(tmp_path / "net" / "imagenet" / "layer4", layer)
    steps: list[Step] = []
    (imported,) = import_sets(folder, store, on_step=steps.append)
    same_as_files(layer, store)
    assert imported.anew
    assert imported.notes == ()
    assert layer.ids is not None
    assert imported.pictures == len(np.unique(layer.ids))
    manifest = imported.manifest
    assert (manifest.subject, manifest.subject_revision, manifest.dataset) == ("net", "", "imagenet")
    assert (manifest.regions, manifest.top, manifest.dataset_size) == ("masks", 4, layer.ids.max() + 1)
    assert [step for step in steps if step.doing == "checking"][-1] == Step("checking", 12, 12)
    assert steps[-1] == Step("packing", imported.pictures, imported.pictures)
    assert store.find("net", "layer4").exemplars(0)[0].picture.title == f"imagenet {layer.ids[0, 0]}"


@pytest.mark.parametrize(("units", "top"), [(1, 4), (3, 1), (1, 1)])
def test_one_unit_or_one_picture_is_a_layer_too(units: int, top: int, tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise(units, top)
    import_sets(write(tmp_path / "net" / "imagenet" / "layer4", layer), store)
    same_as_files(layer, store)


@pytest.mark.parametrize("scale", [1, 255, np.bool_(True)])
def test_masks_may_be_0_and_1_or_0_and_255_or_truth(scale: Any, tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise()
    stored = (layer.masks * scale).astype(np.bool_ if scale is np.bool_(True) else np.uint8)
    import_sets(write(tmp_path / "net" / "imagenet" / "layer4", layer.with_(masks=stored)), store)
    same_as_files(layer, store)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_other_types_with_the_same_values_are_taken(kind: Any, tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise()
    stored = layer.with_(images=layer.images.astype(kind), masks=layer.masks.astype(kind))
    import_sets(write(tmp_path / "net" / "imagenet" / "layer4", stored), store)
    same_as_files(layer, store)


def test_arrays_in_fortran_order_are_read_right(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise()
    stored = layer.with_(images=np.asfortranarray(layer.images), masks=np.asfortranarray(layer.masks))
    import_sets(write(tmp_path / "net" / "imagenet" / "layer4", stored), store)
    same_as_files(layer, store)


def test_each_distinct_picture_is_stored_once(tmp_path: Path, store: ExemplarStore) -> None:
    for name, seed in (("layer1", 1), ("layer2", 2)):
        write(tmp_path / "net" / "imagenet" / name, noise(20, 4, pool=5, seed=seed))
    import_sets(tmp_path / "net", store)
    folder = store.find("net", "layer1").folder
    table = np.load(folder / "pictures.npy")
    assert table[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (folder / "pictures.bin").stat().st_size == table[:, 2].sum()
    assert np.load(folder / "0" / "masks.npy").shape == (20, 4, 4)  # 30 pixels in 4 bytes


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_any_level_may_be_named(depth: int, tmp_path: Path, store: ExemplarStore) -> None:
    folder = write(tmp_path / "all" / "net" / "imagenet" / "layer4", noise())
    (imported,) = import_sets([folder, *folder.parents][depth], store)
    assert (imported.manifest.subject, imported.manifest.dataset) == ("net", "imagenet")
    assert [layer.name for layer in imported.manifest.layers] == ["layer4"]


def test_a_root_holds_many_models_and_layers_in_natural_order(tmp_path: Path, store: ExemplarStore) -> None:
    for model, dataset, name in (
        ("b", "imagenet", "layer10"),
        ("b", "imagenet", "layer2"),
        ("a", "places", "conv1"),
        ("a", "imagenet", "conv1"),
    ):
        write(tmp_path / "all" / model / dataset / name, noise(2, 2))
    write(tmp_path / "all" / "b" / ".hidden" / "layer3", noise(2, 2))
    imported = [one.manifest for one in import_sets(tmp_path / "all", store)]
    told = [(one.subject, one.dataset, [layer.name for layer in one.layers]) for one in imported]
    assert told == [
        ("a", "imagenet", ["conv1"]),
        ("a", "places", ["conv1"]),
        ("b", "imagenet", ["layer2", "layer10"]),
    ]


def test_some_of_it_is_chosen_and_named(tmp_path: Path, store: ExemplarStore) -> None:
    for model in ("a", "b"):
        for name in ("layer1", "layer2"):
            write(tmp_path / "all" / model / "imagenet" / name, noise(2, 2))
    (one,) = import_sets(tmp_path / "all", store, ImportChoice(model="b", layers=("layer2",)))
    assert (one.manifest.subject, [layer.name for layer in one.manifest.layers]) == ("b", ["layer2"])
    (other,) = import_sets(tmp_path / "all" / "a", store, ImportChoice(model="resnet", dataset="val"))
    assert (other.manifest.subject, other.manifest.dataset) == ("resnet", "val")
    for choice, message in (
        (ImportChoice(model="c"), "there is no model 'c'; there is a, b"),
        (ImportChoice(model="a", layers=("layer3",)), "there is no layer 'layer3'; there is layer1, layer2"),
    ):
        with pytest.raises(NotFoundError, match=message) as caught:
            import_sets(tmp_path / "all", store, choice)
        assert caught.value.reason == "NAME_UNKNOWN"


def test_units_npy_says_which_units_there_are(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise(3).with_(units=np.array([7, 2, 30]))
    folder = write(tmp_path / "net" / "imagenet" / "layer4", layer)
    (imported,) = import_sets(folder, store)
    same_as_files(layer, store)
    assert imported.manifest.layers[0].units == 31
    assert "taken to have 31" in imported.notes[0]
    with pytest.raises(NotFoundError, match="exemplars for 3 units of layer4, not for unit 3"):
        store.find("net", "layer4").exemplars(3)
    (imported,) = import_sets(folder, store, ImportChoice(units=64))
    assert imported.manifest.layers[0].units == 64
    assert imported.notes == ()
    for wrong in (30, 0, -1):
        with pytest.raises(InvalidRequestError, match=f"has 31 units by its files, not {wrong}; say at least"):
            import_sets(folder, store, ImportChoice(units=wrong))


def test_units_are_of_one_layer_and_need_units_npy(tmp_path: Path, store: ExemplarStore) -> None:
    for name in ("layer1", "layer2"):
        write(tmp_path / "net" / "imagenet" / name, noise(3))
    with pytest.raises(InvalidRequestError, match="that of one layer, and there are 2; choose one by --layers"):
        import_sets(tmp_path / "net", store, ImportChoice(units=3))
    choice = ImportChoice(units=5, layers=("layer1",))
    with pytest.raises(InvalidRequestError, match=r"3 units by its files, not 5; without units\.npy"):
        import_sets(tmp_path / "net", store, choice)


def test_without_ids_pictures_are_numbered_by_their_order(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise().with_(ids=None)
    (imported,) = import_sets(write(tmp_path / "net" / "imagenet" / "layer4", layer), store)
    same_as_files(layer, store)
    assert "no ids.csv for layer4" in imported.notes[0]
    first = store.find("net", "layer4").exemplars(0)
    assert first[0].picture.index == 0
    assert imported.pictures == len(np.unique(layer.images.reshape(12, -1), axis=0))


def test_without_thresholds_it_is_said_what_that_means(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise().with_(thresholds=None)
    (imported,) = import_sets(write(tmp_path / "net" / "imagenet" / "layer4", layer), store)
    same_as_files(layer, store)
    assert "no thresholds.csv for layer4" in imported.notes[0]
    assert "maia exemplars build --model net" in imported.notes[0]


def test_a_threshold_of_nan_is_unknown_for_that_unit_alone(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise(3).with_(thresholds=np.array([0.5, np.nan, 1.5]))
    import_sets(write(tmp_path / "net" / "imagenet" / "layer4", layer), store)
    known = [store.find("net", "layer4").statistics(unit).threshold for unit in range(3)]
    assert known == [0.5, None, 1.5]


def test_the_same_number_for_different_pictures_is_refused(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise()
    assert layer.ids is not None
    write(tmp_path / "net" / "imagenet" / "layer1", layer)
    write(tmp_path / "net" / "imagenet" / "layer2", layer.with_(images=255 - layer.images))
    with pytest.raises(PreconditionError, match="--without-ids") as caught:
        import_sets(tmp_path / "net", store)
    assert caught.value.reason == "IDS_CONFLICT"
    assert not hidden(store.root)
    (imported,) = import_sets(tmp_path / "net", store, ImportChoice(without_ids=True))
    assert imported.pictures == 2 * len(np.unique(layer.ids))
    same_as_files(layer.with_(ids=None), store, "layer1")


def test_lines_that_do_not_descend_are_sorted_with_all_that_belongs_to_them(
    tmp_path: Path, store: ExemplarStore
) -> None:
    layer = noise()
    order = np.array([2, 0, 3, 1])
    shuffled = layer.with_(
        **{
            name: np.ascontiguousarray(getattr(layer, name)[:, order])
            for name in ("images", "masks", "activations", "ids")
        }
    )
    (imported,) = import_sets(write(tmp_path / "net" / "imagenet" / "layer4", shuffled), store)
    same_as_files(layer, store)
    assert "does not descend in 3 of 3 lines" in imported.notes[0]


def test_places_without_a_picture_are_none(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise()
    assert layer.ids is not None
    layer.ids[1, 2:] = -1
    layer.activations[1, 2:] = -np.inf
    import_sets(write(tmp_path / "net" / "imagenet" / "layer4", layer), store)
    assert [len(store.find("net", "layer4").exemplars(unit)) for unit in range(3)] == [4, 2, 4]
    layer.ids[:] = -1
    with pytest.raises(PreconditionError, match="names no picture at all"):
        import_sets(write(tmp_path / "none" / "imagenet" / "layer4", layer), store)


def test_layers_with_more_and_fewer_pictures_share_a_set(tmp_path: Path, store: ExemplarStore) -> None:
    wide, narrow = noise(2, 5), noise(2, 3, seed=4)
    write(tmp_path / "net" / "imagenet" / "wide", wide)
    write(tmp_path / "net" / "imagenet" / "narrow", narrow)
    import_sets(tmp_path / "net", store)
    same_as_files(wide, store, "wide")
    same_as_files(narrow, store, "narrow")


@pytest.mark.parametrize("form", [(), (1,), (3,)])
def test_synthetic_neurons_have_a_layout_of_their_own(
    form: tuple[int, ...], tmp_path: Path, store: ExemplarStore
) -> None:
    layer = noise()
    masks = np.repeat(layer.masks[:, :, 0, :, :, None], form[0], axis=-1) if form else layer.masks[:, :, 0]
    stored = Layer(layer.images.transpose(0, 1, 3, 4, 2), masks * 255, layer.activations)
    write(tmp_path / "synthetic_neurons" / "mono", stored)
    (imported,) = import_sets(tmp_path / "synthetic_neurons", store)
    assert (imported.manifest.subject, imported.manifest.dataset) == ("synthetic_neurons", "synthetic")
    same_as_files(layer.with_(ids=None, thresholds=None), store, "mono", "synthetic_neurons")


def test_grey_masks_of_synthetic_neurons_are_cut_at_the_half_and_counted(tmp_path: Path, store: ExemplarStore) -> None:
    layer = noise()
    masks = layer.masks[:, :, 0] * 255
    masks[0, 0, 0, :4] = [0, 127, 128, 200]
    write(tmp_path / "syn" / "mono", Layer(layer.images.transpose(0, 1, 3, 4, 2), masks, layer.activations))
    (imported,) = import_sets(tmp_path / "syn", store)
    assert any("1 masks with grey values" in note for note in imported.notes)
    mask = store.find("syn", "mono").exemplars(0)[0].mask
    assert mask is not None
    assert mask[0, :4].tolist() == [False, False, True, True]


def test_the_same_files_again_are_left_as_they_are_and_changed_ones_are_another_set(
    tmp_path: Path, store: ExemplarStore
) -> None:
    folder = write(tmp_path / "net" / "imagenet" / "layer4", noise())
    (first,) = import_sets(folder, store)
    (again,) = import_sets(folder, store)
    assert (first.anew, again.anew) == (True, False)
    assert len(store.manifests()) == 1
    masks = np.load(folder / "masks.npy")
    masks[0, 0, 0, 0, 0] ^= 1
    np.save(folder / "masks.npy", masks)
    (changed,) = import_sets(folder, store)
    assert changed.anew
    same_as_files(noise().with_(masks=masks), store)


def _cut(name: str, share: float = 0.5) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])

    return cut


def _array(name: str, values: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / name, values)


def _header(name: str, shape: tuple[int, ...]) -> Callable[[Path], None]:
    def write_header(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)

    return write_header


def _text(name: str, text: str) -> Callable[[Path], None]:
    def write_text(folder: Path) -> None:
        (folder / name).write_bytes(text.encode("latin-1"))

    return write_text


LINE = "3,2,1,0\n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut("images.npy"), r"images\.npy is no array of NumPy, or was cut short"),
        (_cut("images.npy", 0), r"images\.npy is no array of NumPy"),
        (_cut("masks.npy"), r"masks\.npy is no array of NumPy, or was cut short"),
        (_cut("masks.npy", 0.02), r"masks\.npy is no array of NumPy"),
        (lambda folder: (folder / "masks.npy").unlink(), r"layer4 has no masks\.npy"),
        (lambda folder: (folder / "images.npy").unlink(), r"layer4 has no images\.npy"),
        (lambda folder: (folder / "activations.csv").unlink(), r"layer4 has no activations\.csv"),
        (_array("images.npy", np.zeros((3, 4, 1, 6, 5), np.uint8)), r"images\.npy has the shape \(3, 4, 1, 6, 5\)"),
        (_array("images.npy", np.zeros((0, 4, 3, 6, 5), np.uint8)), r"images\.npy"),
        (_array("images.npy", np.zeros((3, 4), np.uint8)), r"images\.npy has the shape \(3, 4\)"),
        (_array("images.npy", np.full((3, 4, 3, 6, 5), 0.5)), r"images\.npy holds float64 that are no whole numbers"),
        (_array("images.npy", np.full((3, 4, 3, 6, 5), 256)), r"images\.npy holds int64 that are no whole numbers"),
        (_array("images.npy", np.full((3, 4, 3, 6, 5), np.nan)), r"images\.npy holds float64 that are no whole"),
        (_array("images.npy", np.full((3, 4, 3, 6, 5), "x")), r"images\.npy holds <U1, not numbers"),
        (_array("images.npy", np.array([{}], object)), r"images\.npy is no array of NumPy"),
        (_array("masks.npy", np.zeros((3, 4, 1, 6, 6), np.uint8)), r"masks\.npy has the shape .* does not go with"),
        (
            _array("masks.npy", np.full((3, 4, 1, 6, 5), 7, np.uint8)),
            r"masks\.npy has a mask with grey values at \[0, 0\]",
        ),
        (_array("masks.npy", np.full((3, 4, 1, 6, 5), -1)), r"masks\.npy holds int64 that are no whole numbers"),
        (_text("activations.csv", LINE * 2), r"activations\.csv has 2 lines of 4; images\.npy has 3 units with 4"),
        (_text("activations.csv", LINE * 2 + "3,2\n"), r"activations\.csv is no table of numbers"),
        (_text("activations.csv", LINE * 2 + "3,2,x,0\n"), r"activations\.csv is no table of numbers.*'x'"),
        (_text("activations.csv", LINE * 2 + "3,2,nan,0\n"), r"activations\.csv holds nan in line 3"),
        (_text("activations.csv", "1e39,2,1,0\n" + LINE * 2), r"activations\.csv holds 1e\+39 in line 1"),
        (_text("activations.csv", ""), r"activations\.csv is no table of numbers: it is empty"),
        (_text("activations.csv", "\xff\xfe"), r"activations\.csv is no table of numbers"),
        (_text("ids.csv", LINE * 4), r"ids\.csv has 4 lines of 4"),
        (_text("ids.csv", LINE * 2 + "3,2,1.5,0\n"), r"ids\.csv holds 1\.5, which is no whole number"),
        (_text("ids.csv", LINE * 2 + "3,2,1e300,0\n"), r"ids\.csv holds 1e\+300"),
        (_text("thresholds.csv", "1\n2\n"), r"thresholds\.csv has 2 thresholds; images\.npy has 3 units"),
        (_text("thresholds.csv", "1,2\n3,4\n"), r"thresholds\.csv is a table of 2 × 2, not a list"),
        (_array("units.npy", np.array([1, 2])), r"units\.npy holds int64 of the shape \(2,\); it must be 3 whole"),
        (_array("units.npy", np.array([1.0, 2.0, 3.0])), r"units\.npy holds float64"),
        (_array("units.npy", np.array([1, 2, 1])), r"units\.npy names a unit twice"),
        (_array("units.npy", np.array([1, 2, -3])), r"units\.npy names a unit twice, or one below 0"),
        (_array("units.npy", np.array([1, 2, 2**40])), r"units\.npy names the unit 1099511627776"),
        (_text("thresholds.csv", "1" + " " * 5000), r"thresholds\.csv has 5001 bytes, far too many for 3 numbers"),
        (lambda folder: (folder / "ids.csv").unlink() or os.mkfifo(folder / "ids.csv"), r"ids\.csv is no file"),  # type: ignore[func-returns-value]
        (_header("images.npy", (2**40, 2**40, 3, 6, 5)), r"images\.npy is no array of NumPy"),
    ],
)
def test_wrong_files_are_one_clear_line_and_leave_nothing(
    spoil: Callable[[Path], None], message: str, tmp_path: Path, store: ExemplarStore
) -> None:
    for model in ("a", "net"):  # a good one comes first
        write(tmp_path / "all" / model / "imagenet" / "layer4", noise())
    spoil(tmp_path / "all" / "net" / "imagenet" / "layer4")
    with pytest.raises(PreconditionError if "has no" not in message else NotFoundError, match=message) as caught:
        import_sets(tmp_path / "all", store)
    assert caught.value.reason in {"FILES_DAMAGED", "FILES_MISSING"}
    assert "\n" not in caught.value.message
    assert not hidden(store.root)


@pytest.mark.parametrize("name", ["layer\x1b[31m4", "layer\u202e4", os.fsdecode(b"layer\xff")])
def test_names_that_cannot_be_printed_are_refused(name: str, tmp_path: Path, store: ExemplarStore) -> None:
    write(tmp_path / "net" / "imagenet" / name, noise())
    with pytest.raises(InvalidRequestError, match="control character or is no UTF-8; rename") as caught:
        import_sets(tmp_path / "net", store)
    assert caught.value.message.isprintable()
    assert not hidden(store.root)


def test_more_units_than_there_can_be_are_refused(tmp_path: Path, store: ExemplarStore) -> None:
    folder = write(tmp_path / "net" / "imagenet" / "layer4", noise())
    np.save(folder / "units.npy", [1, 2, 3])
    for units, message in ((2**40, "too many"), (0, "4 units by its files, not 0")):
        with pytest.raises(InvalidRequestError, match=message):
            import_sets(folder, store, ImportChoice(units=units))


def test_a_zip_renamed_to_npy_is_no_array(tmp_path: Path, store: ExemplarStore) -> None:
    folder = write(tmp_path / "net" / "imagenet" / "layer4", noise())
    with (folder / "masks.npy").open("wb") as file:
        np.savez(file, masks=np.zeros(3))
    with pytest.raises(PreconditionError, match=r"masks\.npy is an archive"):
        import_sets(folder, store)


def test_what_is_no_folder_of_exemplars_says_what_was_looked_for(tmp_path: Path, store: ExemplarStore) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "set.zip").write_bytes(b"PK")
    write(tmp_path / "far" / "too" / "far" / "net" / "imagenet" / "layer4", noise())
    for name, message in (
        ("missing", "missing does not exist"),
        ("empty", r"empty holds no exemplars: images\.npy"),
        ("set.zip", r"set\.zip is no folder; unpack it"),
        ("far", "up to 3 folders below"),
    ):
        with pytest.raises(NotFoundError, match=message):
            import_sets(tmp_path / name, store)


def test_a_store_that_is_a_file_says_so(tmp_path: Path) -> None:
    folder = write(tmp_path / "net" / "imagenet" / "layer4", noise())
    (tmp_path / "store").write_text("")
    with pytest.raises(PreconditionError, match="store: Not a directory; make room there or choose another"):
        import_sets(folder, ExemplarStore(tmp_path / "store"))


def test_large_arrays_are_never_in_memory(tmp_path: Path) -> None:
    """600 MB of pictures, which lie in a sparse file, in a process that takes less than 100 MB more for them."""
    folder = tmp_path / "net" / "imagenet" / "layer4"
    folder.mkdir(parents=True)
    units, top = 40, 10
    for name, channels in (("images.npy", 3), ("masks.npy", 1)):
        np.lib.format.open_memmap(folder / name, "w+", np.uint8, (units, top, channels, 708, 708))
    np.savetxt(folder / "activations.csv", np.zeros((units, top)), delimiter=",")
    code = (
        "import json, resource, sys\n"
        "from pathlib import Path\n"
        "from maia.services.exemplars.store import ExemplarStore\n"
        "from maia.services.interchange.importing import import_sets\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "import_sets(Path(sys.argv[1]), ExemplarStore(Path(sys.argv[2])))\n"
        "print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))\n"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "store")]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert (folder / "images.npy").stat().st_size > 600_000_000
    assert json.loads(told) * 1024 < 100_000_000
