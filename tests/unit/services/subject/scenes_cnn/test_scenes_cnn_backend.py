"""The subject as the server uses it, with the shipped weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from maia.services.scenes.dataset import fixed_scene
from maia.services.scenes.render import render
from maia.services.subject.backends.scenes_cnn import weights
from maia.services.subject.backends.scenes_cnn.backend import ScenesCnn
from maia.services.subject.backends.scenes_cnn.network import SceneNetwork, normalise
from maia.services.subject.backends.scenes_cnn.preprocess import to_input
from maia.services.subject.measuring import measure
from maia.services.subject.model import Layer, Subject, Unit
from maia.wire.errors import PreconditionError
from maia.wire.maps import Frame
from maia.wire.pictures import Rgb


@pytest.fixture(scope="module")
def subject() -> ScenesCnn:
    return ScenesCnn.load()


@pytest.fixture(scope="module")
def network() -> SceneNetwork:
    return weights.load().network


def picture(index: int, size: tuple[int, int] = (224, 224)) -> Rgb:
    return np.asarray(render(fixed_scene(index), size))


def test_names_its_layers_shallow_to_deep(subject: ScenesCnn) -> None:
    conforming: Subject = subject
    assert conforming.info.name == "scenes-cnn"
    assert conforming.info.input_size == 112
    assert conforming.info.layers == (
        Layer("conv1", 16, 56, 56),
        Layer("layer1", 32, 28, 28),
        Layer("layer2", 48, 28, 28),
        Layer("layer3", 64, 14, 14),
        Layer("layer4", 160, 14, 14),
    )


def test_has_the_revision_of_its_weights(subject: ScenesCnn) -> None:
    assert subject.info.revision == weights.load().revision


def test_weighs_less_than_two_megabytes() -> None:
    assert weights.SHIPPED.stat().st_size < 2_000_000


@pytest.mark.parametrize("layer", ["conv1", "layer1", "layer2", "layer3", "layer4"])
def test_measures_what_a_forward_hook_sees(subject: ScenesCnn, network: SceneNetwork, layer: str) -> None:
    pictures = [picture(3), picture(4, (300, 180))]
    seen: list[torch.Tensor] = []
    hook = network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        network(normalise(torch.from_numpy(np.stack([to_input(rgb) for rgb in pictures]))))
    hook.remove()
    expected = seen[0].numpy()

    indices = [expected.shape[1] - 1, 2, 2]  # the last, any, and the same again
    measured = measure(subject, pictures, [Unit(layer, index) for index in indices])

    assert measured.activations.dtype == np.float32
    np.testing.assert_allclose(measured.activations, expected[:, indices].max(axis=(2, 3)), rtol=1e-5, atol=1e-5)
    for column, index in enumerate(indices):
        assert measured.maps[column].dtype == np.float16
        np.testing.assert_allclose(measured.maps[column], expected[:, index], rtol=2e-3, atol=1e-3)


def test_answers_units_of_several_layers_in_the_order_asked(subject: ScenesCnn) -> None:
    units = [Unit("layer4", 5), Unit("conv1", 1), Unit("layer4", 0)]
    together = measure(subject, [picture(9)], units)
    for column, unit in enumerate(units):
        alone = measure(subject, [picture(9)], [unit])
        np.testing.assert_array_equal(together.activations[:, column], alone.activations[:, 0])
        np.testing.assert_array_equal(together.maps[column], alone.maps[0])


def test_stops_after_the_deepest_layer_asked(network: SceneNetwork) -> None:
    ran: list[str] = []
    hooks = [
        network.get_submodule(name).register_forward_hook(lambda module, inputs, output, name=name: ran.append(name))
        for name in (*network.layers, "head")
    ]
    outputs = network.look(np.zeros((1, 112, 112, 3), np.uint8), ["layer2", "conv1"])
    for hook in hooks:
        hook.remove()
    assert ran == ["conv1", "layer1", "layer2"]
    assert set(outputs) == {"conv1", "layer2"}


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (113, 111), (600, 800)])
def test_takes_pictures_of_any_size(subject: ScenesCnn, height: int, width: int) -> None:
    measured = measure(subject, [np.full((height, width, 3), 200, np.uint8)], [Unit("layer4", 0)])
    assert np.isfinite(measured.activations).all()
    assert measured.frames == (Frame.centre_square(width, height),)


def test_sees_the_frame_and_nothing_beside_it(subject: ScenesCnn) -> None:
    square = picture(12)
    wide = np.full((224, 400, 3), 17, np.uint8)
    wide[:, 88:312] = square
    units = [Unit("layer4", index) for index in range(160)]
    measured = measure(subject, [square, wide], units)
    np.testing.assert_array_equal(measured.activations[0], measured.activations[1])
    assert measured.frames[1] == Frame(88.0, 0.0, 312.0, 224.0)


def test_finds_a_thing_at_its_place(subject: ScenesCnn) -> None:
    """Maps have the orientation of the picture: what moves to the corner of one moves to the corner of the other."""
    scene = picture(2)
    units = [Unit("layer3", index) for index in range(64)]
    here, there = measure(subject, [scene, scene[::-1, ::-1].copy()], units), None
    for values in here.maps:
        upright, turned = values.astype(np.float32)
        if there is None or upright.max() > there[0].max():
            there = (upright, turned)
    assert there is not None
    row, column = np.unravel_index(there[0].argmax(), there[0].shape)
    turned_row, turned_column = np.unravel_index(there[1].argmax(), there[1].shape)
    assert abs(13 - row - turned_row) <= 2
    assert abs(13 - column - turned_column) <= 2


def test_names_the_extra_when_torch_is_absent() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from maia.services.subject.backends.scenes_cnn.backend import ScenesCnn\n"
        "from maia.wire.errors import PreconditionError\n"
        "try: ScenesCnn.load()\n"
        "except PreconditionError as error: print(error.reason, error)\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.startswith("EXTRA_MISSING scenes-cnn needs torch")
    assert "maia[demo]" in output


def test_refuses_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="is not there") as caught:
        ScenesCnn.load(tmp_path / "none.safetensors")
    assert caught.value.reason == "WEIGHTS_UNUSABLE"
