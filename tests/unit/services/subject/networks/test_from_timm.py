from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from maia.services.subject.backends.networks.catalogue import load
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.subject import NetworkClassifier
from maia.services.subject.measuring import measure
from maia.services.subject.model import Layer, Unit
from maia.wire.errors import PreconditionError
from maia.wire.pictures import Rgb

pytestmark = pytest.mark.usefixtures("torchvision_runs")


def made(name: str, seed: int = 1, classes: int = 1000) -> torch.nn.Module:
    import timm

    torch.manual_seed(seed)
    return timm.create_model(name, num_classes=classes).eval()


def published(folder: Path, name: str) -> NetworkOptions:
    """A model folder with a plain copy of a repository."""
    repository = folder / "timm" / name
    repository.mkdir(parents=True)
    save_file(made(name).state_dict(), repository / "model.safetensors")
    return NetworkOptions(device="cpu", model_dir=folder, offline=True)


@pytest.mark.parametrize(
    ("name", "layer", "prefix"),
    [
        ("test_vit.r160_in1k", "blocks.1.mlp.fc1", 1),
        ("test_vit3.r160_in1k", "blocks.1.mlp.fc1", 1),
        ("test_resnet.r160_in1k", "layer3", None),
        ("test_convnext.r160_in1k", "stages.2", None),
    ],
)
def test_measures_what_a_forward_hook_sees(
    name: str, layer: str, prefix: int | None, tmp_path: Path, pictures: list[Rgb]
) -> None:
    from PIL import Image
    from timm.data.config import resolve_data_config
    from timm.data.transforms_factory import create_transform

    subject, module = load(f"timm:{name}", published(tmp_path, name)), made(name)
    found = next(one for one in subject.info.layers if one.name == layer)
    transform = create_transform(**resolve_data_config({}, model=module))  # type: ignore[no-untyped-call]
    seen: list[torch.Tensor] = []
    module.get_submodule(layer).register_forward_hook(lambda part, inputs, output: seen.append(output))
    with torch.no_grad():
        logits = module(torch.stack([transform(Image.fromarray(rgb)) for rgb in pictures]))
    maps = seen[0] if prefix is None else seen[0][:, prefix:].transpose(1, 2).reshape(len(pictures), -1, 10, 10)
    assert (found.units, found.map_height, found.map_width) == tuple(maps.shape[1:])
    measured = measure(subject, pictures, [Unit(layer, 5), Unit("logits", 999)])
    np.testing.assert_allclose(measured.maps[0], maps[:, 5], rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(measured.activations[:, 1], logits[:, 999], rtol=1e-4, atol=1e-5)
    assert subject.info.input_size == 160
    assert subject.info.classes[1].startswith("goldfish")


def test_loads_a_folder_that_timm_saved(tmp_path: Path) -> None:
    config = {
        "architecture": "test_resnet",
        "num_classes": 3,
        "pretrained_cfg": {"num_classes": 3, "input_size": [3, 96, 96], "label_names": ["a", "b", "c"]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(made("test_resnet", classes=3).state_dict(), tmp_path / "model.safetensors")
    subject = load(f"timm:{tmp_path}", NetworkOptions(device="cpu", offline=True))
    assert isinstance(subject, NetworkClassifier)
    assert subject.info.classes == ("a", "b", "c")
    assert subject.info.input_size == 96


def test_loads_weights_of_ones_own_for_other_classes(tmp_path: Path) -> None:
    module = made("test_vit.r160_in1k", 2, 4)
    torch.save(module.state_dict(), tmp_path / "mine.pth")
    subject = load("timm:test_vit.r160_in1k", NetworkOptions(device="cpu", weights=tmp_path / "mine.pth"))
    assert isinstance(subject, NetworkClassifier)
    assert subject.info.classes == ("class 0", "class 1", "class 2", "class 3")
    picture = subject.prepare(np.zeros((160, 160, 3), np.uint8))
    with torch.no_grad():
        expected = module(torch.full((1, 3, 160, 160), -1.0)).softmax(1)
    np.testing.assert_allclose(subject.classify([picture]), expected, rtol=1e-4)


def test_refuses_weights_of_another_network(tmp_path: Path) -> None:
    torch.save(made("test_vit").state_dict(), tmp_path / "mine.pth")
    with pytest.raises(PreconditionError, match="timm says") as caught:
        load("timm:test_resnet.r160_in1k", NetworkOptions(device="cpu", weights=tmp_path / "mine.pth"))
    assert caught.value.reason == "WEIGHTS_UNUSABLE"


def test_has_the_layers_and_the_preparation_of_maia_in_dino_vits8(tmp_path: Path) -> None:
    """From the file that DINO's authors published, under its own name."""
    import timm

    module = timm.create_model("vit_small_patch8_224.dino")
    torch.save(module.state_dict(), tmp_path / "dino_deitsmall8_pretrain.pth")
    subject = load("dino_vits8", NetworkOptions(device="cpu", model_dir=tmp_path, offline=True))
    layers = {layer.name: layer for layer in subject.info.layers}
    for block in (1, 3, 5, 7, 9, 11):
        name = f"blocks.{block}.mlp.fc1"
        assert layers[name] == Layer(name, 1536, 28, 28)
    assert not isinstance(subject, NetworkClassifier)
    frame = subject.prepare(np.zeros((300, 300, 3), np.uint8)).frame
    assert (frame.left, frame.right) == (0, 300)
