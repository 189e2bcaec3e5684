"""The segmenter is held to what the scenes that were drawn really contain, over the whole vocabulary."""

import io
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from maia.services.scenes.compose import compose
from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.grammar import parse
from maia.services.scenes.render import render
from maia.services.scenes.scene import THING_COLOURS, Background, Colour, Scene, Shape, Size, Texture, Thing
from maia.services.scenes.segment import Region, Segmentation, scene_from_pixels, segment

Pixels = NDArray[np.uint8]


def pixels(image: Image.Image) -> Pixels:
    return np.asarray(image)


def as_jpeg(image: Image.Image) -> Pixels:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer).convert("RGB"))


def with_noise(image: Image.Image) -> Pixels:
    noise = np.random.default_rng(1).normal(0.0, 6.0, (*image.size[::-1], 3))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


def at_half_size(image: Image.Image) -> Pixels:
    return np.asarray(image.resize((112, 112), Image.Resampling.BILINEAR))


def nearest(found: Segmentation, thing: Thing) -> Region | None:
    def distance(region: Region) -> float:
        return abs(region.x - thing.x) + abs(region.y - thing.y) + abs(region.radius - thing.radius)

    return min(found.regions, key=distance, default=None)


def mistakes(scenes: Iterable[Scene], seen: Callable[[Image.Image], Pixels] = pixels) -> tuple[Counter[str], int]:
    """Return how often which attribute was read wrongly, and how many things there were."""
    wrong: Counter[str] = Counter()
    total = 0
    for scene in scenes:
        found = segment(seen(render(scene)))
        wrong["count"] += len(found.regions) != len(scene.things)
        wrong["background"] += (found.background.colour, found.background.texture) != (
            scene.background.colour,
            scene.background.texture,
        )
        for thing in scene.things:
            total += 1
            region = nearest(found, thing)
            for name in ("shape", "colour", "texture", "size"):
                wrong[name] += region is None or getattr(region, name) is not getattr(thing, name)
    return wrong, total


def test_every_combination_is_recognised_on_every_kind_of_background() -> None:
    combinations = [(shape, colour, texture) for shape in Shape for colour in THING_COLOURS for texture in Texture]
    backgrounds = [(colour, texture) for colour in Colour for texture in Texture]
    rng = np.random.default_rng(4)
    scenes = []
    for first in range(0, len(combinations), 4):
        things = tuple(
            Thing(*combination, x, y, radius, float(rng.uniform(0, 360)))
            for combination, x, y, radius in zip(
                combinations[first : first + 4],
                (0.25, 0.75) * 2,
                (0.25,) * 2 + (0.75,) * 2,
                (0.125, 0.18) * 2,
                strict=True,
            )
        )
        background = Background(*backgrounds[first // 4 % len(backgrounds)], float(rng.uniform(-1, 1)))
        scenes.append(Scene(background, things))
    wrong, total = mistakes(scenes)
    assert total == 400
    assert wrong.total() <= 2, wrong


def test_composed_scenes_are_read_as_drawn() -> None:
    wrong, total = mistakes(fixed_scene(index * 7) for index in range(200))
    assert total > 450
    for name, count in wrong.items():
        assert count <= 0.005 * total, (name, wrong)


@pytest.mark.parametrize("seen", [as_jpeg, with_noise, at_half_size])
def test_degraded_pictures_of_medium_and_large_things_are_read_too(seen: Callable[[Image.Image], Pixels]) -> None:
    prompts = ["a medium thing and a large thing", "two medium things on a striped background", "a large dotted thing"]
    scenes = [compose(parse(prompt).specification, seed)[0] for prompt in prompts for seed in range(25)]
    wrong, total = mistakes(scenes, seen)
    for name, count in wrong.items():
        assert count <= 0.03 * total, (name, wrong)


@pytest.mark.parametrize("size", [(96, 96), (320, 200), (700, 700)])
def test_other_sizes_are_read_with_masks_of_their_own_size(size: tuple[int, int]) -> None:
    scene = Scene(Background(Colour.CYAN), (Thing(Shape.HEART, Colour.RED, Texture.SOLID, 0.3, 0.6, 0.17),))
    rgb = np.asarray(render(scene, size))
    (region,) = segment(rgb).regions
    assert (region.shape, region.colour, region.size) == (Shape.HEART, Colour.RED, Size.LARGE)
    assert region.mask.shape == rgb.shape[:2]
    red = (rgb[..., 0] > 180) & (rgb[..., 1] < 90)
    assert (region.mask & red).sum() > 0.95 * max(region.mask.sum(), red.sum())
    left, top, right, bottom = region.box
    assert region.mask[top:bottom, left:right].sum() == region.mask.sum()


def test_a_thing_inside_another_is_found_and_taken_out_of_its_mask() -> None:
    for prompt in ("a solid blue star inside a ring", "a red heart inside a striped square", "a star inside a star"):
        for seed in range(6):
            scene, _ = compose(parse(prompt).specification, seed)
            found = segment(np.asarray(render(scene)))
            assert [region.shape for region in found.regions] == [thing.shape for thing in scene.things]
            outer, inner = found.regions
            assert not (outer.mask & inner.mask).any()
            assert not found.background_mask[outer.mask].any()


def test_a_plain_picture_has_no_things() -> None:
    for colour in Colour:
        for texture in Texture:
            found = segment(np.asarray(render(Scene(Background(colour, texture, 0.5, 20.0)))))
            assert (found.regions, found.background) == ((), Background(colour, texture))


def test_foreign_pictures_raise_nothing() -> None:
    rng = np.random.default_rng(2)
    for shape in ((16, 16, 3), (64, 300, 3), (300, 17, 3)):
        segment(rng.integers(0, 256, shape, dtype=np.uint8))
        for value in (0, 128, 255):
            segment(np.full(shape, value, np.uint8))
    gradient = np.linspace(0, 255, 200 * 200 * 3).reshape(200, 200, 3).astype(np.uint8)
    assert len(segment(gradient).regions) <= 16


@pytest.mark.parametrize("array", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3)), np.zeros((8, 64, 3), np.uint8)])
def test_other_arrays_are_refused(array: Pixels) -> None:
    with pytest.raises(ValueError, match=r"a picture is uint8 \(H, W, 3\)"):
        segment(array)


def test_a_scene_made_of_pixels_looks_like_them() -> None:
    for index in range(12):
        original = render(fixed_scene(index))
        scene, warnings = scene_from_pixels(np.asarray(original))
        assert warnings[0].startswith("the picture carries no scene")
        things = np.asarray(segment(np.asarray(original)).background_mask) == 0
        difference = np.abs(np.asarray(original).astype(int) - np.asarray(render(scene))).mean(axis=2)
        solid = [thing.texture is Texture.SOLID for thing in scene.things]
        if all(solid) and solid:
            assert difference[things].mean() < 12.0


@pytest.mark.parametrize(
    ("background", "shape"),
    [
        ((255, 255, 255), Shape.CIRCLE),
        ((250, 251, 252), Shape.STAR),
        ((0, 0, 0), Shape.STAR),
        ((30, 30, 30), Shape.RING),
        ((222, 45, 38), Shape.RING),
    ],
    ids=str,
)
def test_things_stand_out_from_backgrounds_of_other_peoples_pictures(
    background: tuple[int, int, int], shape: Shape
) -> None:
    thing = Thing(shape, Colour.BLUE, Texture.STRIPED, x=0.5, y=0.5, radius=0.25, rotation=0.3)
    drawn = np.array(render(Scene(Background(Colour.GREY, Texture.SOLID), (thing,))))
    corner = drawn[0, 0]
    drawn[(drawn == corner).all(axis=2)] = background
    found = segment(drawn)
    assert [(region.shape, region.colour) for region in found.regions] == [(shape, Colour.BLUE)]
