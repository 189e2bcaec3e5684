"""Controls respond to no concept, and always in the same way to the same pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.render import render
from maia.services.subject.backends.scene_neurons.backend import SceneNeurons
from maia.services.subject.backends.scene_neurons.controls import digest_of, respond_without_concept
from maia.services.subject.backends.scene_neurons.seeing import MAP_SIDE, MAX_ACTIVATION
from maia.services.subject.backends.scene_neurons.table import Control, Kind, rules
from maia.services.subject.measuring import measure
from maia.services.subject.model import Unit
from maia.wire.maps import Frame, masked_pixels
from maia.wire.pictures import Rgb

PICTURES = [np.asarray(render(fixed_scene(index), (96, 96))) for index in range(24)]


def units(kind: Kind) -> list[Unit]:
    return [Unit(layer, i) for layer, of in rules().items() for i, rule in enumerate(of) if rule.kind == kind]


@pytest.fixture(scope="module")
def subject() -> SceneNeurons:
    return SceneNeurons.load()


def test_a_dead_unit_is_0_everywhere(subject: SceneNeurons) -> None:
    measured = measure(subject, PICTURES, units("dead"))
    assert not any(maps.any() for maps in measured.maps)
    assert not measured.activations.any()


def test_a_constant_unit_has_one_value_everywhere_and_others_have_others(subject: SceneNeurons) -> None:
    measured = measure(subject, PICTURES, units("constant"))
    levels = [np.unique(maps).tolist() for maps in measured.maps]
    assert all(len(level) == 1 and 0 < level[0] <= MAX_ACTIVATION for level in levels)
    assert len({level[0] for level in levels}) == len(levels)


def test_the_masked_view_of_a_constant_unit_is_wholly_dark_at_its_threshold(subject: SceneNeurons) -> None:
    measured = measure(subject, PICTURES[:1], units("constant"))
    for maps in measured.maps:
        # The 0.99 quantile over the dataset is the value itself.
        assert not masked_pixels((301, 217), maps[0], Frame(0, 0, 217, 301), float(maps.max())).any()


def test_noise_is_spread_over_its_range_and_two_units_differ(subject: SceneNeurons) -> None:
    activations = measure(subject, PICTURES, units("noise")).activations
    assert (activations >= 0).all()
    assert (activations <= MAX_ACTIVATION).all()
    assert (np.ptp(activations, axis=0) > 0.6 * MAX_ACTIVATION).all()
    first, second = activations.T
    assert np.abs(first - second).mean() > 0.15 * MAX_ACTIVATION


def test_noise_is_of_the_pixels_not_of_the_file_or_the_moment(subject: SceneNeurons) -> None:
    rgb = PICTURES[0]
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, format="PNG")
    again = np.asarray(Image.open(file).convert("RGB"))
    first, *others = (measure(subject, [one], units("noise")) for one in (rgb, again, np.asfortranarray(rgb)))
    for other in others:
        assert all(np.array_equal(one, two) for one, two in zip(first.maps, other.maps, strict=True))


def test_noise_does_not_touch_the_global_generators(subject: SceneNeurons) -> None:
    np.random.seed(3)  # noqa: NPY002  # the global generator is what is looked at
    before = np.random.get_state(legacy=False)["state"]["key"].tolist()  # noqa: NPY002
    measure(subject, PICTURES[:2], units("noise"))
    assert np.random.get_state(legacy=False)["state"]["key"].tolist() == before  # noqa: NPY002


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_a_changed_pixel_changes_the_noise(seed: int, height: int, width: int) -> None:
    rgb: Rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    changed = rgb.copy()
    changed[0, 0, 0] ^= 1
    control = Control("noise", 1)
    one, other = (respond_without_concept(control, digest_of(picture)) for picture in (rgb, changed))
    assert one.shape == (MAP_SIDE, MAP_SIDE)
    assert one.dtype == np.float32
    assert 0 <= one.min() <= one.max() <= MAX_ACTIVATION
    assert not np.array_equal(one, other)


def test_the_same_bytes_in_another_shape_are_another_picture() -> None:
    rgb: Rgb = np.zeros((4, 6, 3), np.uint8)
    assert digest_of(rgb) != digest_of(rgb.reshape(6, 4, 3))
