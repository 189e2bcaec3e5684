from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maia.services.subject.backends.networks.catalogue import load
from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.subject import NetworkClassifier
from maia.services.subject.measuring import measure
from maia.services.subject.model import Layer, Unit
from maia.wire.errors import PreconditionError
from maia.wire.pictures import Rgb

CPU = NetworkOptions(device="cpu", offline=True)
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "image_size": 32,
    "patch_size": 8,
}


def vit(transformers: Any, *, classes: int = 0) -> Any:
    config = transformers.ViTConfig(**VIT, num_labels=classes or 2)
    if classes:
        config.id2label = {index: f"thing {index}" for index in range(classes)}
        return transformers.ViTForImageClassification(config)
    return transformers.ViTModel(config, add_pooling_layer=False)


def resnet(transformers: Any) -> Any:
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3)
    return transformers.ResNetForImageClassification(config)


def convnext(transformers: Any) -> Any:
    return transformers.ConvNextModel(transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2))


def dinov2(transformers: Any) -> Any:
    return transformers.Dinov2Model(transformers.Dinov2Config(**VIT))


def registers(transformers: Any) -> Any:
    return transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**VIT, num_register_tokens=4))


def clip(transformers: Any) -> Any:
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
    config = transformers.CLIPConfig(text_config=text, vision_config=VIT, projection_dim=4)
    return transformers.CLIPModel(config)


def siglip(transformers: Any) -> Any:
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "vocab_size": 9}
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=VIT))


def saved(make: Callable[..., Any], folder: Path, **arguments: Any) -> Any:
    """A model with random weights and its image processor, saved as transformers saves them."""
    import transformers
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(6)
    model = make(transformers, **arguments).eval()
    model.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return model


CASES = [
    (vit, "layers.1.mlp.fc1", 1),
    (resnet, "resnet.encoder.stages.1", None),
    (convnext, "encoder.stages.1", None),
    (dinov2, "encoder.layer.1", 1),
    (registers, "encoder.layer.1", 5),
    (clip, "encoder.layers.1", 1),
    (siglip, "encoder.layers.1", 0),
]


@pytest.mark.parametrize(("make", "ending", "prefix"), CASES)
def test_measures_what_a_forward_hook_sees(
    make: Callable[..., Any], ending: str, prefix: int | None, tmp_path: Path, pictures: list[Rgb]
) -> None:
    model = saved(make, tmp_path)
    model = getattr(model, "vision_model", model)
    subject = load(f"transformers:{tmp_path}", CPU)
    name = next(layer.name for layer in subject.info.layers if layer.name.endswith(ending))
    seen: list[Any] = []
    own = next(part for key, part in model.named_modules() if key.endswith(ending))
    own.register_forward_hook(lambda part, inputs, output: seen.append(output))
    with torch.no_grad():
        model(subject._preparation.batch([subject.prepare(rgb) for rgb in pictures], torch.device("cpu")))
    output: Tensor = seen[0] if isinstance(seen[0], Tensor) else seen[0][0]
    maps = output if prefix is None else output[:, prefix:].transpose(1, 2).reshape(len(pictures), -1, 4, 4)
    layer = next(layer for layer in subject.info.layers if layer.name == name)
    assert layer == Layer(name, *maps.shape[1:])
    measured = measure(subject, pictures, [Unit(name, 3)])
    np.testing.assert_allclose(measured.maps[0], maps[:, 3], rtol=2e-3, atol=1e-4)
    assert subject.info.input_size == 32


def test_a_classifier_has_the_names_of_its_classes(tmp_path: Path, pictures: list[Rgb]) -> None:
    model = saved(vit, tmp_path, classes=3)
    subject = load(f"transformers:{tmp_path}", CPU)
    assert isinstance(subject, NetworkClassifier)
    assert subject.info.classes == ("thing 0", "thing 1", "thing 2")
    inputs = [subject.prepare(rgb) for rgb in pictures]
    with torch.no_grad():
        expected = model(subject._preparation.batch(inputs, torch.device("cpu"))).logits.softmax(1)
    np.testing.assert_allclose(subject.classify(inputs), expected, rtol=1e-4, atol=1e-6)


def test_finds_a_plain_copy_of_a_repository_in_the_model_folder(tmp_path: Path) -> None:
    saved(vit, tmp_path / "owner/name")
    options = NetworkOptions(device="cpu", model_dir=tmp_path, offline=True)
    assert load("transformers:owner/name", options).info.title.startswith("ViTModel owner/name")


def test_makes_up_no_weights(tmp_path: Path) -> None:
    """transformers itself would load this with a warning and random numbers."""
    from safetensors.torch import load_file, save_file

    saved(vit, tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state.pop(next(key for key in state if "layernorm" in key))
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(PreconditionError, match="its weights lack") as caught:
        load(f"transformers:{tmp_path}", CPU)
    assert caught.value.reason == "WEIGHTS_UNUSABLE"


def test_a_pooler_without_weights_is_no_layer(tmp_path: Path) -> None:
    """As in DINO's repositories: the class has one, the weights do not."""
    saved(vit, tmp_path)
    assert not [layer.name for layer in load(f"transformers:{tmp_path}", CPU).info.layers if "pooler" in layer.name]


def test_loads_weights_of_ones_own(tmp_path: Path) -> None:
    model = saved(resnet, tmp_path)
    with torch.no_grad():
        model.get_submodule("classifier.1").bias[:] = torch.tensor([0.0, 0.0, 50.0])
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    subject = load(
        f"transformers:{tmp_path}", NetworkOptions(device="cpu", offline=True, weights=tmp_path / "mine.pth")
    )
    assert isinstance(subject, NetworkClassifier)
    assert subject.classify([subject.prepare(np.zeros((9, 9, 3), np.uint8))])[0, 2] > 0.99


def test_refuses_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="transformers says") as caught:
        load(f"transformers:{tmp_path}", CPU)
    assert caught.value.reason == "WEIGHTS_UNUSABLE"
