"""The image table: references, masked views made late, raw pixels from code, bounds, and what the journal keeps."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from maia.orchestrator.conversation import Picture
from maia.orchestrator.events import ImageAdded, UnitName
from maia.orchestrator.images import ImageLimits, ImageTable, MaskRecipe
from maia.orchestrator.images.table import SHOWN_SIDE
from maia.orchestrator.journal import JournalReader
from maia.sandbox import Pixels, ToolError
from maia.wire.maps import Frame
from maia.wire.pictures import decode, encode_png

UNIT = UnitName("reds", "layer1", 3)
TOP_LEFT = np.array([[8, 0], [0, 0]], np.float16)


def recipe(threshold: float | None = 4.0, values: Any = TOP_LEFT) -> MaskRecipe:
    return MaskRecipe.of(UNIT, 8.0, values, Frame(0, 0, 32, 24), threshold)


def noise(mode: str = "RGB", width: int = 20, height: int = 10) -> Pixels:
    size = width * height * {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    return Pixels(mode, width, height, np.random.default_rng(0).bytes(size))


async def test_ids_name_their_run_and_count(bench: Any) -> None:
    first, second = bench.picture(1), bench.picture(2)
    assert first.id.endswith("-1")
    assert second.id.endswith("-2")
    other = ImageTable(bench.record, tag="img-other")
    with pytest.raises(ToolError, match="no image"):
        other.known(first.id)


async def test_a_view_is_drawn_when_somebody_looks_and_once(bench: Any) -> None:
    original = bench.picture(200, 100, 40)
    view = bench.images.add_view(original.id, recipe(), {"tool": "test"})
    assert [event.sha256 for event in bench.events(ImageAdded)][1:] == [""]
    drawn = await bench.images.drawn(view.id)
    assert await bench.images.drawn(view.id) is drawn
    rgb = decode(drawn.data)
    assert rgb[0, 0].tolist() == [200, 100, 40]
    assert rgb[-1, -1].tolist() == [50, 25, 10]
    events = bench.events(ImageAdded)
    assert [(event.image_id, bool(event.sha256), event.view_of) for event in events] == [
        (original.id, True, ""),
        (view.id, False, original.id),
        (view.id, True, original.id),
    ]
    assert JournalReader(bench.folder).picture(events[2].sha256, "image/png") == drawn.data


def test_what_is_as_high_in_much_of_the_map_stays_bright() -> None:
    values = np.zeros((10, 10), np.float16)
    values[2:6, 2:6] = 3  # the edge
    values[3:5, 2:6] = 8
    own = recipe(None, values)
    assert (own.threshold, own.origin) == (3.0, "map")
    assert own.mask(32, 24)[9:11, 9:16].all()
    assert not own.mask(32, 24)[:4].any()
    constant = recipe(None, np.full((4, 4), 2, np.float16))
    assert constant.threshold == 2.0
    assert not constant.mask(32, 24).any()


async def test_the_journal_has_what_draws_the_mask_again(bench: Any) -> None:
    view = bench.images.add_view(bench.picture(9).id, recipe(), {"tool": "test"})
    kept = bench.events(ImageAdded)[1].view
    assert (kept["unit"], kept["activation"], kept["threshold"]) == ("reds layer1:3", 8.0, 4.0)
    assert kept["threshold_from"] == "exemplars"
    values = np.frombuffer(base64.b64decode(kept["map"]["values"]), "<f2").reshape(2, 2)
    again = MaskRecipe.of(UNIT, 8.0, values, Frame(*kept["frame"]), kept["threshold"])
    assert np.array_equal(again.mask(32, 24), bench.images.mask(view.id))


async def test_a_view_leads_to_its_original_also_a_view_of_a_view(bench: Any) -> None:
    original = bench.picture(5)
    view = bench.images.add_view(original.id, recipe(), {})
    view_of_view = bench.images.add_view(view.id, recipe(), {})
    assert bench.images.source(view_of_view.id) == bench.images.source(original.id) == original
    assert bench.images.picture(view.id) is bench.images.picture(original.id)
    assert bench.images.mask(original.id) is None


async def test_without_a_threshold_the_map_gives_its_own(bench: Any) -> None:
    values = np.arange(100, dtype=np.float16).reshape(10, 10)
    own = recipe(None, values)
    assert own.origin == "map"
    assert own.threshold == pytest.approx(94.05)


@pytest.mark.parametrize("call", ["known", "source", "picture", "mask", "identity"])
async def test_a_made_up_reference_is_refused(bench: Any, call: str) -> None:
    with pytest.raises(ToolError, match="there is no image 'forged'"):
        getattr(bench.images, call)("forged")


@pytest.mark.parametrize("call", ["drawn", "shown", "pixels", "encoded"])
async def test_a_made_up_reference_has_no_pixels(bench: Any, call: str) -> None:
    with pytest.raises(ToolError, match="there is no image"):
        await getattr(bench.images, call)("x" * 1000)


async def test_pixels_of_code_come_back_as_they_were(bench: Any) -> None:
    sent = noise()
    ref = await bench.images.add_pixels(sent)
    assert (ref.width, ref.height) == (20, 10)
    assert await bench.images.pixels(ref.id) == sent
    grey = await bench.images.pixels((await bench.images.add_pixels(noise("L"))).id)
    assert np.array_equal(
        np.frombuffer(grey.data, np.uint8).reshape(-1, 3),
        np.frombuffer(noise("L").data, np.uint8)[:, None].repeat(3, 1),
    )


async def test_transparent_pixels_lie_on_white(bench: Any) -> None:
    data = bytes([10, 20, 30, 0] * 32 + [10, 20, 30, 255] * 32)
    ref = await bench.images.add_pixels(Pixels("RGBA", 8, 8, data))
    pixels = (await bench.images.pixels(ref.id)).data
    assert pixels[:3] == b"\xff\xff\xff"
    assert pixels[-3:] == bytes([10, 20, 30])


async def test_the_same_pixels_are_the_same_image(bench: Any) -> None:
    assert await bench.images.add_pixels(noise()) == await bench.images.add_pixels(noise())
    assert len(bench.events(ImageAdded)) == 1
    turned = Pixels("RGB", 10, 20, noise().data)
    assert await bench.images.add_pixels(turned) != await bench.images.add_pixels(noise())


@pytest.mark.parametrize("size", [(7, 20), (20, 7), (4097, 8), (8, 4097)])
async def test_pixels_out_of_bounds_are_refused(bench: Any, size: tuple[int, int]) -> None:
    with pytest.raises(ToolError, match=f"{size[0]}×{size[1]} pixels"):
        await bench.images.add_pixels(noise("L", *size))


async def test_a_run_has_room_for_so_many_images(bench: Any) -> None:
    table = ImageTable(bench.record, tag="t", limits=ImageLimits(images=2))
    png = Picture(encode_png(np.zeros((8, 8, 3), np.uint8)), "image/png", 8, 8)
    original = table.add(png, {})
    table.add_view(original.id, recipe(), {})
    with pytest.raises(ToolError, match="already holds 2 images"):
        table.add_view(original.id, recipe(), {})
    with pytest.raises(ToolError, match="already holds 2 images"):
        await table.add_pixels(noise())


async def test_a_run_has_room_for_so_many_bytes(bench: Any) -> None:
    table = ImageTable(bench.record, tag="t", limits=ImageLimits(bytes=100))
    await table.add_pixels(noise())
    with pytest.raises(ToolError, match="already take 100 bytes"):
        await table.add_pixels(noise("L"))


async def test_a_large_picture_is_displayed_smaller_and_kept_whole(bench: Any) -> None:
    ref = await bench.images.add_pixels(noise("L", 3000, 1500))
    shown = await bench.images.shown(ref.id)
    assert (shown.width, shown.height) == (SHOWN_SIDE, SHOWN_SIDE // 2)
    assert decode(shown.data).shape == (SHOWN_SIDE // 2, SHOWN_SIDE, 3)
    assert (await bench.images.drawn(ref.id)).width == 3000
    assert bench.record.image_ids[shown.sha256] == ref.id


async def test_a_photograph_is_handed_out_as_png(bench: Any) -> None:
    file = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(file, "JPEG")
    ref = bench.images.add(Picture(file.getvalue(), "image/jpeg", 20, 10), {})
    data = await bench.images.encoded(ref.id)
    assert data.startswith(b"\x89PNG")
    assert (await bench.images.drawn(ref.id)).media_type == "image/jpeg"


async def test_content_tells_images_apart_whatever_their_ids(bench: Any) -> None:
    identity = bench.images.identity
    one, same, other = bench.picture(1), bench.picture(1), bench.picture(2)
    assert identity(one.id) == identity(same.id) != identity(other.id)
    view = bench.images.add_view(one.id, recipe(), {})
    twin = bench.images.add_view(same.id, recipe(), {})
    stricter = bench.images.add_view(one.id, recipe(5.0), {})
    assert identity(view.id) == identity(twin.id)
    assert identity(view.id) not in (identity(one.id), identity(stricter.id))


@given(width=st.integers(8, 40), height=st.integers(8, 40), mode=st.sampled_from(["L", "RGB", "RGBA"]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_size_and_mode_keeps_its_shape(bench: Any, width: int, height: int, mode: str) -> None:
    ref = await bench.images.add_pixels(noise(mode, width, height))
    pixels = await bench.images.pixels(ref.id)
    assert (ref.width, ref.height) == (pixels.width, pixels.height) == (width, height)
