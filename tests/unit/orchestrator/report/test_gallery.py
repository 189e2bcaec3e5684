"""Pictures: each once, masks as the agent saw them, and nothing read that is not a picture of the unit."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maia.orchestrator.events import ImageAdded, PicturePart, UnitName
from maia.orchestrator.journal import JournalReader
from maia.orchestrator.report.gallery import Gallery, images_in, mask_png
from maia.wire.maps import Frame, masked_pixels

UNIT = UnitName(model="m", layer="l", index=1)
MakeRun = Callable[..., Any]


def view_of(cells: np.ndarray[Any, np.dtype[np.float16]], **changes: Any) -> dict[str, Any]:
    values = base64.b64encode(cells.astype("<f2").tobytes()).decode()
    height, width = cells.shape
    map_ = {"height": height, "width": width, "values": values}
    return {"activation": 3.0, "threshold": 0.5, "frame": [0, 0, 60, 40], "map": map_, **changes}


def test_the_mask_is_the_one_of_the_masked_view() -> None:
    cells = np.random.default_rng(3).random((4, 6)).astype(np.float16)
    drawn = mask_png(view_of(cells), 60, 40)
    assert drawn is not None
    alpha = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGBA"))[..., 3]
    assert np.array_equal(alpha == 0, masked_pixels((40, 60), cells, Frame.whole(60, 40), 0.5))
    assert set(np.unique(alpha)) == {0, 255}


def test_the_mask_of_a_large_picture_is_small() -> None:
    drawn = mask_png(view_of(np.eye(7, dtype=np.float16), frame=[0, 0, 4000, 2000]), 4000, 2000)
    assert drawn is not None
    assert Image.open(io.BytesIO(drawn)).size == (256, 128)


@pytest.mark.parametrize(
    "changes",
    [
        {"map": None},
        {"map": {"height": 9, "width": 9, "values": "AAAA"}},
        {"map": {"height": 10**9, "width": 10**9, "values": ""}},
        {"map": {"height": 0, "width": 0, "values": ""}},
        {"map": {"height": 1, "width": 1, "values": "é"}},
        {"frame": [1, 2]},
        {"frame": [5, 5, 5, 5]},
        {"threshold": None},
    ],
)
def test_a_view_without_a_usable_map_has_no_mask(changes: dict[str, Any]) -> None:
    assert mask_png(view_of(np.ones((2, 2), np.float16), **changes), 60, 40) is None


def test_a_picture_is_embedded_once_however_often_it_is_shown(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(tmp_path, UNIT)
    image = run.image({"tool": "tools.text2image", "prompt": "a red circle", "seed": 5}, "red circle")
    views = [run.view(image, 8.0), run.view(image, 8.0), run.view(image, 2.0)]
    run.give_up()
    gallery = Gallery(JournalReader(tmp_path))
    figures = [gallery.figure(name) for name in (image, *views, image)]
    assert [figure.picture for figure in figures] == ["p1"] * 5
    assert [figure.mask for figure in figures] == ["", "m1", "m1", "m1", ""]
    assert gallery.css().count("image/png") == 2
    assert [figure.activation for figure in figures] == [2.0, 8.0, 8.0, 2.0, 2.0]
    assert figures[1].title == "a red circle"
    assert ("seed", "5") in figures[1].details
    assert len(gallery.figures) == 4


def test_a_view_that_has_only_its_composed_picture_shows_that(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(tmp_path, UNIT)
    sha256 = run.journal.add_picture(run.picture("a blue ring", 3))
    run.append(ImageAdded("v", 224, 224, view_of="gone", view={"activation": 1.5}))
    run.append(ImageAdded("v", 224, 224, sha256=sha256, media_type="image/png", view_of="gone"))
    run.give_up()
    figure = Gallery(JournalReader(tmp_path)).figure("v")
    assert (figure.picture, figure.mask, figure.activation) == ("p1", "", 1.5)
    assert figure.file == f"images/{sha256}.png"


@pytest.mark.parametrize(
    ("sha256", "media_type", "says"),
    [
        ("", "image/png", "never drawn"),
        ("0" * 64, "image/png", "cannot be read"),
        ("../../../../etc/passwd", "image/png", "named"),
        ("0" * 64, "text/html;,</style>", "text/html"),
    ],
)
def test_what_is_no_picture_of_the_unit_is_named_and_not_read(
    tmp_path: Path, new_run: MakeRun, sha256: str, media_type: str, says: str
) -> None:
    run = new_run(tmp_path, UNIT)
    run.append(ImageAdded("i", 10, 10, sha256=sha256, media_type=media_type))
    run.give_up()
    gallery = Gallery(JournalReader(tmp_path))
    for figure in (gallery.figure("i"), gallery.figure_of(PicturePart(sha256, media_type, 10, 10))):
        assert says in figure.missing
        assert not figure.picture
    assert gallery.css() == ""


def test_an_altered_picture_is_not_shown(tmp_path: Path, new_run: MakeRun) -> None:
    run = new_run(tmp_path, UNIT)
    image = run.image({}, "circle")
    run.give_up()
    file = next((tmp_path / "images").iterdir())
    file.write_bytes(file.read_bytes() + b"x")
    assert "differs" in Gallery(JournalReader(tmp_path)).figure(image).missing


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, "9", None])
def test_what_is_no_number_to_draw_is_no_activation(tmp_path: Path, new_run: MakeRun, value: object) -> None:
    run = new_run(tmp_path, UNIT)
    run.append(ImageAdded("v", 1, 1, view_of="o", view={"activation": value}))
    run.give_up()
    assert Gallery(JournalReader(tmp_path)).activation("v") is None


def test_images_are_found_at_any_depth_in_order() -> None:
    result = {"a": [[9.0, {"image": "x"}], [8.0, {"image": "y"}]], "b": {"c": {"image": "z"}}, "d": {"image": 3}}
    assert list(images_in(result)) == ["x", "y", "z"]
