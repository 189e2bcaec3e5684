import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maia.services.scenes.scene import (
    MAX_JSON_CHARS,
    MAX_RADIUS,
    MAX_THINGS,
    MIN_RADIUS,
    RADII,
    THING_COLOURS,
    Background,
    Colour,
    Scene,
    SceneError,
    Shape,
    Texture,
    Thing,
    size_of,
)

ANGLES = st.floats(0.0, 360.0, exclude_max=True)
THINGS = st.builds(
    Thing,
    shape=st.sampled_from(Shape),
    colour=st.sampled_from(THING_COLOURS),
    texture=st.sampled_from(Texture),
    x=st.floats(0.0, 1.0),
    y=st.floats(0.0, 1.0),
    radius=st.floats(MIN_RADIUS, MAX_RADIUS),
    rotation=ANGLES,
)
SCENES = st.builds(
    Scene,
    background=st.builds(Background, st.sampled_from(Colour), st.sampled_from(Texture), st.floats(-1.0, 1.0), ANGLES),
    things=st.lists(THINGS, max_size=MAX_THINGS).map(tuple),
)
CIRCLE = Thing(Shape.CIRCLE, Colour.RED, Texture.SOLID, 0.5, 0.5, 0.1)


@settings(deadline=None)
@given(SCENES)
def test_every_scene_survives_json_within_the_size_bound(scene: Scene) -> None:
    text = scene.to_json()
    assert len(text) <= MAX_JSON_CHARS
    assert Scene.from_json(text) == scene


@settings(deadline=None)
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_other_text_is_refused_with_a_scene_error(text: str) -> None:
    with pytest.raises(SceneError):
        Scene.from_json(text)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("x", 1.5, "x is 1.5"),
        ("x", float("nan"), "x is nan"),
        ("y", True, "y is True"),
        ("y", "0.5", "y is '0.5'"),
        ("radius", 10**400, "radius is too large"),
        ("radius", 0.001, "radius is 0.001"),
        ("rotation", 360.0, "rotation is 360.0"),
        ("colour", "white", "a thing cannot be white"),
        ("colour", "mauve", "colour is 'mauve'; use one of red"),
        ("shape", ["circle"], "shape is"),
        ("texture", None, "texture is None"),
        ("glitter", 1, "glitter"),
    ],
)
def test_a_wrong_field_is_named_with_its_value(field: str, value: object, message: str) -> None:
    document = json.loads(Scene(things=(CIRCLE,)).to_json())
    document["things"][0][field] = value
    with pytest.raises(SceneError, match=message.replace("[", r"\[")):
        Scene.from_json(json.dumps(document))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 8000, "not JSON"),
        ("9" * 8000, "not JSON"),
        (" " * (MAX_JSON_CHARS + 1), "at most"),
        ('{"version":2,"background":{},"things":[]}', "version 2"),
        ('{"version":1,"version":1,"background":{},"things":[]}', "twice"),
        ('{"version":1,"background":{},"things":{}}', "must be a list"),
        ("[]", "must be a JSON object"),
    ],
)
def test_hostile_documents_are_refused(text: str, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        Scene.from_json(text)


def test_more_things_than_allowed_are_refused() -> None:
    with pytest.raises(SceneError, match="at most 16"):
        Scene(things=(CIRCLE,) * (MAX_THINGS + 1))


def test_drawn_radii_fall_into_their_own_size_class() -> None:
    for size, bounds in RADII.items():
        assert {size_of(radius) for radius in bounds} == {size}
