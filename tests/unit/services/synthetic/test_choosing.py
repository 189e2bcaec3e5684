"""Which pictures come into question for a unit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.services.synthetic.photographs import coco, write_coco, write_pictures

from maia.services.subject.backends.photograph_neurons.table import Mode, Rule
from maia.services.synthetic.choosing import Photographs, candidates
from maia.wire.errors import NotFoundError, PreconditionError

NAMES = ["a.png", "b.png", "c/d.PNG", "e.png"]


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    folder = write_pictures(tmp_path / "pictures", {name: [] for name in NAMES}, scale=1)
    (folder / "notes.txt").write_text("no picture")
    return Photographs.of(folder)


def test_pictures_of_a_folder_are_in_the_order_of_their_names(photographs: Photographs) -> None:
    assert [photographs.title(slot) for slot in range(4)] == NAMES
    assert photographs.path(2) == photographs.folder / "c" / "d.PNG"


def test_without_annotations_all_come_into_question(photographs: Photographs) -> None:
    rules = [Rule(Mode.MONO, ("dog",)), Rule(Mode.MONO, ("sky",))]
    assert candidates(photographs, rules, None) == [[0, 1, 2, 3]] * 2


def test_annotations_say_which_pictures_have_any_or_all_concepts(photographs: Photographs, tmp_path: Path) -> None:
    categories = {
        "Dog": ["a.png", "c/d.PNG", "a.png"],
        "traffic  light": ["c/d.PNG", "e.png"],
        "sky": [],
        "fire_hydrant": ["e.png"],
    }
    path = write_coco(tmp_path / "coco.json", [*NAMES, "elsewhere.png"], categories | {"cat": ["elsewhere.png"]})
    rules = [
        Rule.parse(Mode.MONO, "dog"),
        Rule.parse(Mode.OR, "dog_traffic light"),
        Rule.parse(Mode.AND, "traffic light_dog"),
        Rule.parse(Mode.AND, "dog_sky"),
        Rule.parse(Mode.MONO, "cat"),
        Rule.parse(Mode.MONO, "fire_hydrant"),
    ]
    assert candidates(photographs, rules, path) == [[0, 2], [0, 2, 3], [2], [], [], [3]]


def test_a_concept_without_a_category_is_named_with_those_that_there_are(
    photographs: Photographs, tmp_path: Path
) -> None:
    path = write_coco(tmp_path / "coco.json", NAMES, {"dog": [], "cat": []})
    with pytest.raises(PreconditionError, match="no category 'stripes'; its categories are 'cat', 'dog'") as caught:
        candidates(photographs, [Rule(Mode.MONO, ("stripes",))], path)
    assert caught.value.reason == "ANNOTATIONS_INVALID"


def test_annotations_of_other_pictures_are_refused(photographs: Photographs, tmp_path: Path) -> None:
    path = write_coco(tmp_path / "coco.json", ["other.png"], {"dog": ["other.png"]})
    with pytest.raises(PreconditionError, match="none of its 1 pictures is in") as caught:
        candidates(photographs, [Rule(Mode.MONO, ("dog",))], path)
    assert caught.value.reason == "ANNOTATIONS_INVALID"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"images": 3, "categories": [], "annotations": []}',
        '{"images": [], "categories": [{"id": 1, "name": 5}], "annotations": []}',
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png"}],
                "categories": [],
                "annotations": [{"category_id": 9, "image_id": 1}],
            }
        ),
    ],
)
def test_a_file_of_another_form_is_refused(photographs: Photographs, tmp_path: Path, content: str) -> None:
    path = tmp_path / "coco.json"
    path.write_text(content)
    with pytest.raises(PreconditionError, match=r"coco\.json cannot be used: it is no file of annotations") as caught:
        candidates(photographs, [Rule(Mode.MONO, ("dog",))], path)
    assert caught.value.reason == "ANNOTATIONS_INVALID"
    assert "\n" not in caught.value.message


def test_what_is_wrong_with_annotations_is_named(photographs: Photographs, tmp_path: Path) -> None:
    rules = [Rule(Mode.MONO, ("dog",))]
    with pytest.raises(PreconditionError, match="there is no such file"):
        candidates(photographs, rules, tmp_path / "none.json")
    told = coco(NAMES, {"dog": ["a.png"]})
    told["annotations"][0]["category_id"] = 77
    (tmp_path / "coco.json").write_text(json.dumps(told))
    with pytest.raises(PreconditionError, match="annotation 0 has the category_id 77, which no category has"):
        candidates(photographs, rules, tmp_path / "coco.json")


def test_a_folder_that_is_missing_or_has_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as missing:
        Photographs.of(tmp_path / "nowhere")
    assert missing.value.reason == "DATASET_MISSING"
    with pytest.raises(PreconditionError) as empty:
        Photographs.of(tmp_path)
    assert empty.value.reason == "DATASET_EMPTY"
