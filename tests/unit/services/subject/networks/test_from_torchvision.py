from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maia.services.subject.backends.networks.catalogue import load
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.subject import NetworkClassifier
from maia.services.subject.measuring import measure
from maia.services.subject.model import Layer, Unit
from maia.wire.errors import PreconditionError
from maia.wire.pictures import Rgb

pytestmark = pytest.mark.usefixtures("torchvision_runs")

NAME = "torchvision:shufflenet_v2_x0_5"


def made(seed: int, **arguments: Any) -> torch.nn.Module:
    from torchvision import models

    torch.manual_seed(seed)
    module: torch.nn.Module = models.shufflenet_v2_x0_5(**arguments)
    return module.eval()


@pytest.fixture
def options(tmp_path: Path, torchvision_runs: object) -> NetworkOptions:
    """A model folder with weights under the name that torchvision publishes them under."""
    (tmp_path / "checkpoints").mkdir()
    torch.save(made(1).state_dict(), tmp_path / "checkpoints/shufflenetv2_x0.5-f707e7126e.pth")
    return NetworkOptions(device="cpu", model_dir=tmp_path, offline=True)


def test_measures_what_a_forward_hook_sees(options: NetworkOptions, pictures: list[Rgb]) -> None:
    """To a unit of float32's last places: the network runs with channels last here and in the plain order there."""
    from PIL import Image
    from torchvision.models import ShuffleNet_V2_X0_5_Weights as Weights

    subject, module, transform = load(NAME, options), made(1), Weights.DEFAULT.transforms()
    assert isinstance(subject, NetworkClassifier)
    assert subject.info.classes == tuple(Weights.DEFAULT.meta["categories"])
    assert Layer("stage3", 96, 14, 14) in subject.info.layers
    seen: list[torch.Tensor] = []
    module.get_submodule("stage3").register_forward_hook(lambda part, inputs, output: seen.append(output))
    with torch.no_grad():
        logits = module(torch.stack([transform(Image.fromarray(rgb)) for rgb in pictures]))
    units = [Unit("stage3", 95), Unit("logits", 1), Unit("stage3", 0)]
    measured = measure(subject, pictures, units)
    np.testing.assert_allclose(measured.maps[0], seen[0][:, 95].numpy(), rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(measured.activations[:, 2], seen[0][:, 0].amax((1, 2)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(measured.activations[:, 1], logits[:, 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        subject.classify([subject.prepare(rgb) for rgb in pictures]), logits.softmax(1), rtol=1e-4, atol=1e-6
    )


def test_loads_weights_of_ones_own_for_other_classes(options: NetworkOptions, tmp_path: Path) -> None:
    torch.save({"state_dict": made(2, num_classes=7).state_dict()}, tmp_path / "mine.pth")
    mine = load(NAME, NetworkOptions(device="cpu", weights=tmp_path / "mine.pth"))
    assert mine.info.classes == tuple(f"class {index}" for index in range(7))
    assert "mine.pth" in mine.info.title
    assert mine.info.revision != load(NAME, options).info.revision


def test_refuses_weights_of_another_network(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "mine.pth")
    with pytest.raises(PreconditionError, match="another network") as caught:
        load(NAME, NetworkOptions(device="cpu", weights=tmp_path / "mine.pth"))
    assert caught.value.reason == "WEIGHTS_UNUSABLE"


@pytest.mark.parametrize("name", ["googlenet", "vit_b_16/IMAGENET1K_SWAG_E2E_V1", "maxvit_t"])
def test_builds_as_torchvision_does_for_its_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchvision sets on its own where it loads published weights."""
    from torchvision import models
    from torchvision.models._api import WeightsEnum

    from maia.services.subject.backends.networks import from_torchvision

    architecture, _, weights = name.partition("/")
    built: list[dict[str, Any]] = []

    class BuiltError(Exception):
        pass

    def record(module: torch.nn.Module, state: object, *args: object, **kwargs: object) -> None:
        built.append({key: getattr(module, key, None) for key in ("transform_input", "image_size")})
        built[-1]["shapes"] = {key: tuple(value.shape) for key, value in module.state_dict().items()}
        raise BuiltError

    entry = models.get_model_weights(architecture)[weights or "DEFAULT"]
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *args, **kwargs: {})
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", record)
    monkeypatch.setattr(from_torchvision, "published_file", lambda url, options: Path("x"))
    monkeypatch.setattr(from_torchvision, "read_state", lambda path: {})
    with pytest.raises(BuiltError):
        models.get_model(architecture, weights=entry)
    with pytest.raises(BuiltError):
        from_torchvision.load(name, NetworkOptions())
    assert built[0] == built[1]


def test_has_the_layers_and_the_preparation_of_maia_in_resnet152(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    with torch.device("meta"):
        module = models.resnet152()
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in module.state_dict().items()}
    torch.save(state, tmp_path / "resnet152-394f9c45.pth")
    subject = load("resnet152", NetworkOptions(device="cpu", model_dir=tmp_path, offline=True))
    layers = {layer.name: layer for layer in subject.info.layers}
    assert [(name, layers[name].units, layers[name].map_height) for name in ("conv1", "layer1", "layer4")] == [
        ("conv1", 64, 112),
        ("layer1", 256, 56),
        ("layer4", 2048, 7),
    ]
    assert {"layer2", "layer3", "logits", "probabilities"} <= set(layers)
    assert (subject.info.name, subject.info.classes[1]) == ("resnet152", "goldfish")
    frame = subject.prepare(np.zeros((300, 300, 3), np.uint8)).frame
    assert (frame.left, frame.right) == (0, 300)
