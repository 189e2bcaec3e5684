import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.palette import PAINT, shaded_tones
from maia.services.scenes.png import embedded_scene, encode
from maia.services.scenes.render import render
from maia.services.scenes.scene import Background, Colour, Scene, SceneError, Shape, Texture, Thing

RED_CIRCLE = Thing(Shape.CIRCLE, Colour.RED, Texture.SOLID, 0.25, 0.75, 0.1)


def test_paint_and_tone_stand_where_the_scene_says() -> None:
    scene = Scene(Background(Colour.BLUE), (RED_CIRCLE,))
    image = render(scene)
    assert (image.mode, image.size) == ("RGB", (224, 224))
    assert image.getpixel((56, 168)) == PAINT[Colour.RED]
    assert image.getpixel((168, 56)) == shaded_tones(scene.background)[0]


@pytest.mark.parametrize("shape", Shape)
def test_the_centre_of_what_is_painted_is_the_centre_of_the_thing(shape: Shape) -> None:
    thing = Thing(shape, Colour.BLACK, Texture.SOLID, 0.4, 0.6, 0.15, 33.0)
    pixels = np.asarray(render(Scene(things=(thing,)), (300, 200)))
    rows, columns = np.nonzero(pixels.sum(axis=2) < 200)
    assert abs(columns.mean() + 0.5 - 0.4 * 300) < 1.0
    assert abs(rows.mean() + 0.5 - 0.6 * 200) < 1.0


@pytest.mark.parametrize("texture", list(Texture)[1:])
def test_textures_are_white_inside_a_rim_of_paint(texture: Texture) -> None:
    thing = Thing(Shape.CIRCLE, Colour.GREEN, texture, 0.5, 0.5, 0.3)
    pixels = np.asarray(render(Scene(Background(Colour.BLACK), (thing,)))).astype(int)
    white = (pixels == 255).all(axis=2)
    y, x = np.indices(white.shape) + 0.5
    radius = np.hypot(x - 112, y - 112) / 224
    assert 0.2 < white[radius < 0.25].mean() < 0.65
    assert not white[radius > 0.28].any()


def test_later_things_lie_on_earlier_ones_and_stay_visible_on_their_own_colour() -> None:
    below = Thing(Shape.SQUARE, Colour.RED, Texture.SOLID, 0.5, 0.5, 0.3)
    above = Thing(Shape.CIRCLE, Colour.RED, Texture.SOLID, 0.5, 0.5, 0.08)
    alone = np.asarray(render(Scene(things=(below,))))
    both = np.asarray(render(Scene(things=(below, above))))
    assert (alone != both).any(axis=2).sum() > 50


@pytest.mark.parametrize("size", [(16, 16), (224, 224), (640, 360), (33, 97)])
def test_any_size_is_drawn_and_repeats_exactly(size: tuple[int, int]) -> None:
    scene = fixed_scene(7)
    assert render(scene, size).size == size
    assert render(scene, size).tobytes() == render(scene, size).tobytes()


@pytest.mark.parametrize("size", [(15, 224), (224, 4096), (0, 0)])
def test_sizes_out_of_range_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="each side must be 16 to 2048"):
        render(Scene(), size)


def test_a_png_carries_its_scene_and_repeats_exactly() -> None:
    scene = fixed_scene(3)
    image = render(scene)
    data = encode(scene, image)
    assert embedded_scene(data) == scene
    assert Image.open(io.BytesIO(data)).tobytes() == image.tobytes()
    assert hashlib.sha256(data).digest() == hashlib.sha256(encode(scene, render(scene))).digest()


def test_files_without_a_scene_carry_none() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "PNG")
    for data in (b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", buffer.getvalue(), buffer.getvalue()[:20]):
        assert embedded_scene(data) is None


def test_a_forged_scene_chunk_is_an_error() -> None:
    data = encode(Scene(), render(Scene()))
    with pytest.raises(SceneError, match="not JSON"):
        embedded_scene(data.replace(b'{"version"', b'{{version"'))
    with pytest.raises(SceneError, match="not ASCII"):
        embedded_scene(data.replace(b'{"version"', b'\xff"version"'))


def test_a_cut_or_oversized_scene_chunk_is_an_error_without_reading_it() -> None:
    data = encode(Scene(), render(Scene()))
    start = data.index(b"maia-scene")
    with pytest.raises(SceneError):
        embedded_scene(data[: start + 20])
    huge = data[: start - 8] + (2**31 - 1).to_bytes(4, "big") + data[start - 4 : start + 11] + b" " * 100_000
    with pytest.raises(SceneError, match="at most"):
        embedded_scene(huge)
