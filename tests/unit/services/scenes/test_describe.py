import numpy as np
import pytest

from maia.services.scenes.describe import NOTHING, caption, phrase, summary
from maia.services.scenes.render import render
from maia.services.scenes.scene import Background, Colour, Scene, Shape, Texture, Thing
from maia.services.scenes.segment import Segmentation, segment

STAR = Thing(Shape.STAR, Colour.RED, Texture.SOLID, 0.25, 0.5, 0.18)
RING = Thing(Shape.RING, Colour.BLUE, Texture.STRIPED, 0.75, 0.5, 0.085)
HEART = Thing(Shape.HEART, Colour.RED, Texture.DOTTED, 0.5, 0.5, 0.125)
LEFT = np.broadcast_to(np.arange(224) < 112, (224, 224))


def seen(*things: Thing, background: Background | None = None) -> Segmentation:
    return segment(np.asarray(render(Scene(background or Background(), things))))


def test_a_phrase_names_size_colour_texture_and_shape_in_this_order() -> None:
    assert phrase(STAR) == "large red star"
    assert phrase(RING) == "small blue striped ring"


def test_a_caption_names_what_the_picture_or_the_mask_shows() -> None:
    found = seen(STAR, RING, background=Background(Colour.GREEN, Texture.CHECKERED))
    assert caption(found) == "large red star, small blue striped ring on a green checkered background"
    assert caption(found, LEFT) == "large red star"
    assert caption(found, ~LEFT) == "small blue striped ring"
    assert caption(found, found.background_mask) == "green checkered background"
    assert caption(found, np.zeros((224, 224), np.bool_)) == NOTHING
    assert caption(seen()) == "plain grey background"


def test_a_small_mask_on_a_large_thing_names_the_thing() -> None:
    spot = np.zeros((224, 224), np.bool_)
    spot[108:116, 52:60] = True
    assert caption(seen(STAR, RING), spot) == "large red star"


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"use bool \(224, 224\)"):
        caption(seen(STAR), np.zeros((7, 7), np.bool_))


def test_a_summary_counts_what_is_shared() -> None:
    star, heart, ring = seen(STAR), seen(HEART), seen(RING)
    assert summary([(star, None), (heart, None)]) == "all 2: red"
    text = summary([(star, None), (star, None), (star, None), (heart, None), (heart, None)])
    assert text == "all 5: red; most: star (3 of 5); some: dotted (2 of 5), heart (2 of 5)"
    assert summary([(star, None), (ring, None)]) == "nothing in common"
    assert summary([(seen(STAR, RING), LEFT), (star, None)]) == "all 2: red, star"
    assert summary([]) == "nothing in common"
