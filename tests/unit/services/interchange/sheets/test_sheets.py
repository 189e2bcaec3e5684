"""Contact sheets: what they show, and where."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.services.interchange.upstream import noise, write

from maia.services.exemplars.layer import ExemplarLayer
from maia.services.exemplars.model import KeptPicture, LayerArrays, Manifest, Statistics, StoredLayer
from maia.services.exemplars.store import ExemplarStore
from maia.services.interchange.importing import import_sets
from maia.services.interchange.sheets.histogram import histogram_of
from maia.services.interchange.sheets.page import sheet_html
from maia.services.interchange.sheets.picture import sheet_png
from maia.services.interchange.sheets.sheet import SIDE, Sheet, sheet_of
from maia.wire.errors import OutOfRangeError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb, encode_png

TITLE = 'n01/<b onmouseover="x()">&\n\x1b[31m.png'
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))


def plain(index: int, size: tuple[int, int]) -> Rgb:
    return np.full((*size, 3), COLOURS[index], np.uint8)


def measured(root: Path, *, thresholds: bool = True, size: tuple[int, int] = (448, 448)) -> ExemplarLayer:
    """One unit that responds in the upper half of three plain pictures."""
    store = ExemplarStore(root)
    maps = np.zeros((1, 3, 2, 2), np.float16)
    maps[:, :, 0] = 4
    known = LayerArrays(
        indices=np.array([[2, 0, 1]]),
        activations=np.array([[4.25, 3, 2]], np.float32),
        maps=maps,
        thresholds=np.array([2.0], np.float32) if thresholds else None,
        mean=np.array([0.125]),
        density=np.array([0.0625]),
        edges=np.array([[-1, 0, 1, 2, 3, 4]], np.float32),
        histogram=np.array([[0, 99, 0, 9, 0]]),
    )
    manifest = Manifest(
        subject="net<1>",
        subject_revision="r1",
        dataset="val",
        dataset_revision="d1",
        dataset_size=3,
        top=3,
        layers=(StoredLayer(name="layer.4", units=1, map_height=2, map_width=2),),
    )
    with store.writing(manifest) as writer:
        writer.write_layer(0, known)
        writer.write_pictures(
            KeptPicture(index, TITLE, encode_png(plain(index, size)), Frame.whole(size[1], size[0]))
            for index in range(3)
        )
    return store.find("net<1>", "layer.4")


def pixels(data: bytes) -> Rgb:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_a_sheet_has_the_original_and_the_masked_view_of_each_exemplar(tmp_path: Path) -> None:
    sheet = sheet_of(measured(tmp_path), 0)
    assert (sheet.model, sheet.unit) == ("net<1>", "layer.4:0")
    assert [(card.rank, card.activation) for card in sheet.cards] == [(1, 4.25), (2, 3.0), (3, 2.0)]
    first = sheet.cards[0]
    assert np.array_equal(first.original, plain(2, (SIDE, SIDE)))
    assert first.masked[10, 10].tolist() == list(COLOURS[2])
    assert first.masked[-10, -10].tolist() == [channel // 4 for channel in COLOURS[2]]
    assert first.title == 'n01/<b onmouseover="x()">&\\n\\x1b[31m.png'
    assert dict(sheet.facts) == {
        "Dataset": "val",
        "Subject's revision": "r1",
        "Pictures shown": "3",
        "Activations": "2 to 4.25",
        "Threshold (0.99 quantile)": "2",
        "Mean": "0.125",
        "Above zero": "6.25%",
    }
    assert sheet.notes == ()


def test_an_imported_set_shows_its_stored_masks_and_says_what_is_unknown(tmp_path: Path) -> None:
    layer = noise().with_(thresholds=None)
    import_sets(write(tmp_path / "net" / "imagenet" / "layer4", layer), ExemplarStore(tmp_path / "store"))
    sheet = sheet_of(ExemplarStore(tmp_path / "store").find("net", "layer4"), 1)
    inside = layer.masks[1, 0, 0].astype(bool)
    assert np.array_equal(sheet.cards[0].masked[inside], sheet.cards[0].original[inside])
    assert np.array_equal(sheet.cards[0].masked[~inside], sheet.cards[0].original[~inside] // 4)
    assert dict(sheet.facts)["Threshold (0.99 quantile)"] == dict(sheet.facts)["Mean"] == "unknown"
    assert sheet.histogram is None
    assert "imported" in sheet.notes[0]


def test_without_a_threshold_the_sheet_says_what_its_masks_are(tmp_path: Path) -> None:
    sheet = sheet_of(measured(tmp_path, thresholds=False), 0)
    assert "0.95 quantile of its map" in sheet.notes[0]
    assert sheet.histogram is not None
    assert sheet.histogram.threshold is None


def test_a_unit_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutOfRangeError):
        sheet_of(measured(tmp_path), 1)


def test_a_histogram_keeps_places_and_empty_bins() -> None:
    known = Statistics(2.0, None, None, np.array([-1, 0, 1, 2, 3, 4], np.float32), np.array([0, 99, 0, 9, 0]))
    histogram = histogram_of(known)
    assert histogram is not None
    assert histogram.heights == pytest.approx((0, 1, 0, 0.5, 0))  # log 100, log 10
    assert (histogram.low, histogram.high) == (-1, 4)
    assert histogram.threshold == pytest.approx(0.6)
    assert histogram.zero == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("edges", "counts"),
    [([0, 0, 0], [5, 0]), ([0, 1, 2], [0, 0]), ([0, np.nan, np.nan], [1, 1]), ([-np.inf, 0, 1], [1, 1])],
)
def test_of_values_that_span_nothing_there_is_no_histogram(edges: list[float], counts: list[int]) -> None:
    assert histogram_of(Statistics(None, None, None, np.array(edges, np.float32), np.array(counts))) is None


@pytest.mark.parametrize("size", [(448, 448), (100, 200), (1, 9), (3000, 20)])
def test_the_picture_shows_the_cards_where_they_belong(size: tuple[int, int], tmp_path: Path) -> None:
    sheet = sheet_of(measured(tmp_path, size=size), 0)
    rgb = pixels(sheet_png(sheet))
    for place, index in enumerate((2, 0, 1)):
        own = (rgb == COLOURS[index]).all(axis=2)
        columns = np.flatnonzero(own.any(axis=0))
        height, width = sheet.cards[place].original.shape[:2]
        assert max(height, width) <= SIDE
        assert columns[-1] - columns[0] + 1 == width
        lit = (sheet.cards[place].masked == COLOURS[index]).all(axis=2).sum()
        assert own.sum() == height * width + lit
        assert columns.mean() == pytest.approx(28 + place * (SIDE + 16) + SIDE / 2, abs=1)


def test_the_picture_has_the_histogram_and_the_threshold(tmp_path: Path) -> None:
    rgb = pixels(sheet_png(sheet_of(measured(tmp_path), 0)))
    bars = (rgb == (127, 166, 171)).all(axis=2)
    line = (rgb == (163, 50, 31)).all(axis=2)
    columns = np.flatnonzero(bars.any(axis=0))
    left = rgb.shape[1] - 28 - 420
    assert columns[0] == left + 84  # the first bar that is not empty
    tall, short = bars[:, left + 100].sum(), bars[:, left + 270].sum()
    assert short == pytest.approx(tall / 2, abs=1)
    assert line[:, left + 252].sum() > 100
    dark = pixels(sheet_png(sheet_of(measured(tmp_path / "b", thresholds=False), 0)))
    assert not (dark == (163, 50, 31)).all(axis=2)[:, left:].any()


def test_a_sheet_of_many_exemplars_grows_and_one_of_none_is_a_heading(tmp_path: Path) -> None:
    sheet = sheet_of(measured(tmp_path), 0)
    heights = []
    for count in (0, 1, 5, 6, 40):
        cards = (sheet.cards * 14)[:count]
        many = Sheet(sheet.model, sheet.unit, sheet.facts, sheet.histogram, sheet.notes, cards)
        heights.append(pixels(sheet_png(many)).shape[0])
        assert sheet_html(many).count("<li>") == count
    assert heights[0] < heights[1] == heights[2] < heights[3] < heights[4]


def test_long_names_stay_in_the_picture(tmp_path: Path) -> None:
    sheet = sheet_of(measured(tmp_path), 0)
    long = Sheet("m" * 500, "l" * 500, (("Dataset", "d" * 500),), sheet.histogram, ("n" * 900,), sheet.cards)
    rgb = pixels(sheet_png(long))
    assert rgb.shape[1] == pixels(sheet_png(sheet)).shape[1]
    assert (rgb[:, -20:] == (252, 251, 248)).all()


def test_the_page_is_one_file_with_escaped_text_and_inline_pictures(tmp_path: Path) -> None:
    page = sheet_html(sheet_of(measured(tmp_path), 0))
    assert "<b onmouseover" not in page
    assert "n01/&lt;b onmouseover=&#34;x()&#34;&gt;&amp;\\n\\x1b[31m.png" in page
    assert "net&lt;1&gt;" in page
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:image/webp;base64,)", page)
    pictures = [base64.b64decode(one) for one in re.findall(r'src="data:image/webp;base64,([^"]+)"', page)]
    assert len(pictures) == 6
    assert np.abs(pixels(pictures[0]).astype(int) - plain(2, (SIDE, SIDE))).max() <= 4
    assert [float(x) for x in re.findall(r'class="bar" x="([\d.]+)"', page)] == [90, 250]
