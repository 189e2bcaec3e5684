from collections import Counter

import pytest

from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.scene import THING_COLOURS, Colour, Shape, Texture

SCENES = 800


def test_each_index_has_one_scene_of_its_own() -> None:
    first = [fixed_scene(index) for index in range(50)]
    assert first == [fixed_scene(index) for index in range(50)]
    assert len(set(first)) == 50
    with pytest.raises(ValueError, match="numbered from 0"):
        fixed_scene(-1)


def test_the_set_is_balanced() -> None:
    scenes = [fixed_scene(index) for index in range(SCENES)]
    things = [thing for scene in scenes for thing in scene.things]
    assert Counter(len(scene.things) for scene in scenes).keys() == {1, 2, 3, 4}
    pairs = Counter((thing.colour, thing.shape) for thing in things)
    assert len(pairs) == len(THING_COLOURS) * len(Shape)
    assert min(pairs.values()) >= SCENES // 100
    for name, values in (("shape", Shape), ("colour", THING_COLOURS), ("texture", Texture)):
        counts = Counter(getattr(thing, name) for thing in things)
        assert min(counts[value] for value in values) > 0.75 * len(things) / len(values), name
    triples = {(thing.shape, thing.colour, thing.texture) for thing in things}
    assert len(triples) == len(Shape) * len(THING_COLOURS) * len(Texture)
    backgrounds = Counter((scene.background.colour, scene.background.texture) for scene in scenes)
    assert len(backgrounds) == len(Colour) * len(Texture)
