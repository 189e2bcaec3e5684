"""The whole, on planted pictures: the arrays as MAIA reads them, and what happens when it is stopped or cannot be."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.unit.services.subject.photograph_neurons.planted import Planted, PlantedDetector
from tests.unit.services.synthetic.photographs import scores, write_coco, write_pictures

from maia.services.subject.backends.photograph_neurons.backend import PhotographNeurons
from maia.services.subject.backends.photograph_neurons.detecting import Detector
from maia.services.subject.backends.photograph_neurons.table import Mode, read_folder
from maia.services.subject.measuring import measure
from maia.services.subject.model import Unit
from maia.services.synthetic import writing
from maia.services.synthetic.creating import Created, Creation, create
from maia.wire.errors import InvalidRequestError, MaiaError, PreconditionError


def unheard(_doing: str, _done: int, _total: int) -> None: ...


def made(asked: Creation, detector: PlantedDetector | None = None) -> Created:
    return create(asked, lambda: detector or PlantedDetector(), unheard)


def refused(asked: Creation, load: Callable[[], Detector] = PlantedDetector) -> MaiaError:
    with pytest.raises(MaiaError) as caught:
        create(asked, load, unheard)
    assert "\n" not in caught.value.message
    return caught.value


@pytest.fixture
def asked(tmp_path: Path) -> Creation:
    """Two units; dogs get less sure from 0.95 on, cats from 0.60."""
    folder = tmp_path / "pictures"
    write_pictures(folder, scores(18, "dog") | scores(16, "cat", first=0.6, step=0.01) | {"nothing.png": []})
    return Creation(Mode.MONO, "cat,dog", folder, tmp_path / "out", size=112)


def read(asked: Creation) -> dict[str, Any]:
    """Read the files as MAIA does."""
    folder = asked.out / "synthetic_neurons" / asked.mode
    return {
        "activations": np.loadtxt(folder / "activations.csv", delimiter=",", ndmin=2),
        "ids": np.loadtxt(folder / "ids.csv", delimiter=",", ndmin=2),
        "thresholds": np.loadtxt(folder / "thresholds.csv", ndmin=1),
        "images": np.load(folder / "images.npy"),
        "masks": np.load(folder / "masks.npy"),
        "labels": json.loads((asked.out / "labels" / f"{asked.mode}.json").read_text()),
    }


def test_the_fifteen_that_drive_a_unit_most_are_kept(asked: Creation) -> None:
    assert made(asked) == Created(2, anew=True, fewest=15, unreadable=0)
    found = read(asked)
    assert [unit["label"] for unit in found["labels"]] == ["cat", "dog"]
    assert found["labels"][1]["image_names"] == [f"dog/{number:02}.png" for number in range(15)]
    assert found["labels"][1]["activations"] == pytest.approx([0.95 - 0.02 * number for number in range(15)])
    assert found["activations"][0] == pytest.approx([0.6 - 0.01 * number for number in range(15)], rel=1e-4)
    assert found["ids"].tolist() == [list(range(15)), list(range(16, 31))]
    assert found["images"].shape == found["masks"].shape == (2, 15, 112, 112, 3)
    assert found["images"].dtype == found["masks"].dtype == np.uint8
    assert sorted(path.name for path in asked.out.iterdir()) == ["labels", "synthetic_neurons"]


def test_masks_are_where_the_unit_responds(asked: Creation) -> None:
    made(asked)
    found = read(asked)
    assert set(np.unique(found["masks"])) == {0, 255}
    assert found["thresholds"].tolist() == [0, 0]
    rows, columns = np.nonzero(found["masks"][1, 0, :, :, 0])
    # Squares of 12 cells at (8, 12) of 56, on 112 pixels; a map is upsampled bilinearly, half a cell beyond.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (15, 40, 23, 48)
    dark = found["images"][1, 0] * (np.minimum(found["masks"][1, 0] / 255 + 0.25, 1))
    assert dark[20, 30].tolist() == found["images"][1, 0][20, 30].tolist()


def test_the_label_file_serves_and_a_kept_picture_measures_as_it_says(asked: Creation) -> None:
    made(asked)
    found = read(asked)
    subject = PhotographNeurons(read_folder(asked.out / "labels"), PlantedDetector())
    measured = measure(subject, list(found["images"][1]), [Unit("mono", 1)]).activations[:, 0]
    assert measured == pytest.approx(found["activations"][1], rel=1e-4)


@pytest.mark.parametrize(("mode", "best"), [(Mode.OR, 0.9), (Mode.AND, 0.5)])
def test_modes_of_two_concepts(asked: Creation, mode: Mode, best: float) -> None:
    both = {f"both/{number:02}.png": [Planted("dog", 0.9, 2, 2), Planted("cat", 0.5, 30, 30)] for number in range(15)}
    write_pictures(asked.dataset, both)
    some = replace(asked, mode=mode, labels="dog_cat", dataset=asked.dataset)
    made(some)
    found = read(some)
    assert found["activations"].shape == (1, 15)
    assert found["activations"].max() == pytest.approx(max(best, 0.95) if mode is Mode.OR else best)
    assert all(name.startswith("both/") for name in found["labels"][0]["image_names"]) is (mode is Mode.AND)


def test_only_annotated_pictures_are_tried(asked: Creation, tmp_path: Path) -> None:
    names = [f"dog/{number:02}.png" for number in range(18)]
    coco = write_coco(tmp_path / "coco.json", names, {"dog": names[2:]})
    detector = PlantedDetector()
    some = replace(asked, labels="dog", coco=coco)
    made(some, detector)
    assert len(detector.asked) == 16
    assert read(some)["labels"][0]["image_names"][0] == "dog/02.png"


def test_pictures_that_cannot_be_read_are_counted(asked: Creation) -> None:
    (asked.dataset / "dog" / "00.png").write_bytes(b"nothing")
    (asked.dataset / "gone.png").symlink_to("nowhere")
    assert made(asked).unreadable == 2
    assert read(asked)["labels"][1]["image_names"][0] == "dog/01.png"


def test_with_too_few_pictures_it_is_said_how_many_and_no_work_is_lost(asked: Creation) -> None:
    for number in range(4, 16):
        (asked.dataset / "cat" / f"{number:02}.png").unlink()
    error = refused(asked)
    assert error.reason == "TOO_FEW_PICTURES"
    assert "1 of 2 units have fewer than 15 pictures that turn the unit on: 'cat' 4;" in error.message
    assert not (asked.out / "synthetic_neurons").exists()
    assert not (asked.out / "labels").exists()
    detector = PlantedDetector()
    few = replace(asked, allow_fewer=True)
    assert made(few, detector).fewest == 4
    assert detector.asked == []
    found = read(few)
    assert len(found["labels"][0]["image_names"]) == 4
    assert found["ids"][0, 4:].tolist() == [-1] * 11
    assert found["activations"][0, 3] > 0
    assert not found["activations"][0, 4:].any()
    assert not found["images"][0, 4:].any()
    assert not found["masks"][0, 4:].any()


def test_a_unit_that_nothing_turns_on_can_be_kept(asked: Creation) -> None:
    assert made(replace(asked, labels="tree", allow_fewer=True)).fewest == 0


def test_too_few_annotated_pictures_are_noticed_before_a_model_is_loaded(asked: Creation, tmp_path: Path) -> None:
    names = [f"dog/{number:02}.png" for number in range(14)]
    coco = write_coco(tmp_path / "coco.json", names, {"dog": names})

    def load() -> Detector:
        raise AssertionError

    error = refused(replace(asked, labels="dog", coco=coco), load)
    assert error.reason == "TOO_FEW_PICTURES"
    assert "come into question: 'dog' 14;" in error.message


def test_a_run_that_was_stopped_goes_on_with_the_next_unit(asked: Creation) -> None:
    class Stopping(PlantedDetector):
        def detect(self, *arguments: Any) -> Any:
            if len(self.asked) == 40:
                raise KeyboardInterrupt
            return super().detect(*arguments)

    with pytest.raises(KeyboardInterrupt):
        made(asked, Stopping())
    assert not (asked.out / "synthetic_neurons").exists()
    detector = PlantedDetector()
    made(asked, detector)
    assert detector.asked == [("dog",)] * 35
    stopped = read(asked)
    whole = replace(asked, out=asked.out.with_name("other"))
    made(whole)
    assert all(np.array_equal(stopped[name], found) for name, found in read(whole).items())


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 nothing"])
def test_a_damaged_result_is_made_again(asked: Creation, damage: bytes) -> None:
    few = replace(asked, labels="tree,dog")
    refused(few)
    kept = sorted((asked.out / ".mono-units").glob("*.npz"))
    assert len(kept) == 2
    for path in kept:
        path.write_bytes(damage)
    detector = PlantedDetector()
    made(replace(few, allow_fewer=True), detector)
    assert len(detector.asked) == 70


def test_what_is_there_is_not_made_again_and_nothing_else_is_put_in_its_place(asked: Creation) -> None:
    made(asked)
    detector = PlantedDetector()
    assert made(asked, detector) == Created(2, anew=False)
    assert detector.asked == []
    for other in (replace(asked, size=64), replace(asked, labels="dog,cat"), replace(asked, labels="dog")):
        assert refused(other).reason == "OUT_EXISTS"
    before = read(asked)
    Image.new("RGB", (9, 9)).save(asked.dataset / "new.png")
    assert refused(asked).reason == "OUT_EXISTS"
    assert all(np.array_equal(before[name], found) for name, found in read(asked).items())


def test_a_long_list_of_labels_is_no_path(asked: Creation) -> None:
    error = refused(replace(asked, labels=",".join(f"label {number} of many" for number in range(20)) + ",?"))
    assert error.reason == "LABELS_INVALID"


@pytest.mark.parametrize("out", ["/proc/x", "file"])
def test_where_nothing_can_be_written_is_told_before_a_model_is_loaded(
    asked: Creation, tmp_path: Path, out: str
) -> None:
    def load() -> Detector:
        raise AssertionError

    (tmp_path / "file").write_text("")
    error = refused(replace(asked, out=tmp_path / out), load)
    assert error.reason == "OUT_UNWRITABLE"
    assert "name another --out" in error.message


def test_a_full_disk_is_told_and_keeps_the_units(asked: Creation, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(writing, "row_file", full)
        error = refused(asked)
    assert "No space left on device" in error.message
    assert not (asked.out / "synthetic_neurons" / "mono").exists()
    assert made(asked, PlantedDetector()).anew


def test_a_label_file_of_somebody_elses_is_not_written_over(asked: Creation) -> None:
    path = asked.out / "labels" / "mono.json"
    path.parent.mkdir(parents=True)
    for content in ("mine", json.dumps([{"label": "tree"}])):
        path.write_text(content)
        assert refused(asked).reason == "OUT_EXISTS"
        assert path.read_text() == content
    path.write_text(json.dumps([{"label": "cat"}, {"label": "dog"}]))
    assert refused(replace(asked, labels=str(path))).reason == "OUT_EXISTS"


def test_labels_come_from_maias_files_or_as_a_list(asked: Creation, tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_text(json.dumps([{"label": "Dog", "image_names": ["00.jpg"] * 15, "activations": [0.5] * 15}]))
    some = replace(asked, labels=str(path))
    made(some)
    assert read(some)["labels"][0]["label"] == "Dog"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": ""}, "LABELS_INVALID"),
        ({"labels": "dog,,cat"}, "LABELS_INVALID"),
        ({"labels": "dog,x"}, "LABELS_INVALID"),
        ({"labels": "dog", "mode": Mode.OR}, "LABELS_INVALID"),
        ({"labels": "nowhere.json"}, "LABELS_INVALID"),
        ({"size": 31}, "SIZE_INVALID"),
        ({"size": 2000}, "SIZE_INVALID"),
        ({"dataset": Path("nowhere")}, "DATASET_MISSING"),
        ({"coco": Path("nowhere.json")}, "ANNOTATIONS_INVALID"),
    ],
)
def test_wrong_wishes_are_refused(asked: Creation, changes: dict[str, Any], reason: str) -> None:
    error = refused(replace(asked, **changes))
    assert error.reason == reason
    assert isinstance(error, PreconditionError | InvalidRequestError)
    assert not (asked.out / "synthetic_neurons").exists()
