from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from maia.services.subject.backends.networks.catalogue import load
from maia.services.subject.backends.networks.hooked import HookedNetwork
from maia.services.subject.backends.networks.options import NetworkOptions, Precision
from maia.services.subject.measuring import measure
from maia.services.subject.model import Layer, Unit
from maia.wire.errors import PreconditionError
from maia.wire.pictures import Rgb

pytestmark = pytest.mark.usefixtures("torchvision_runs")

TEXT = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}
VIT: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": TEXT,
}
RESNET: dict[str, Any] = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": TEXT,
}


def made(config: dict[str, Any], folder: Path, **arguments: Any) -> torch.nn.Module:
    """A model with random weights, saved as open_clip saves it."""
    import open_clip

    torch.manual_seed(4)
    model: torch.nn.Module = open_clip.CLIP(**config, **arguments).eval()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.contiguous() for key, value in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    return model


@pytest.mark.parametrize(
    ("config", "layer"),
    [
        (VIT, Layer("transformer.resblocks.1", 64, 4, 4)),
        (VIT, Layer("transformer.resblocks.0.mlp.c_fc", 256, 4, 4)),
        (VIT, Layer("transformer.resblocks.0.attn", 64, 4, 4)),
        (RESNET, Layer("layer3", 128, 4, 4)),
    ],
)
def test_measures_what_a_forward_hook_sees(
    config: dict[str, Any], layer: Layer, tmp_path: Path, pictures: list[Rgb]
) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    model = made(config, tmp_path)
    subject = load(f"open_clip:{tmp_path}", NetworkOptions(device="cpu", offline=True))
    assert layer in subject.info.layers
    assert subject.info.classes == ()
    visual, seen = model.get_submodule("visual"), list[Any]()
    visual.get_submodule(layer.name).register_forward_hook(lambda part, inputs, output: seen.append(output))
    transform = image_transform_v2(PreprocessCfg(size=64), is_train=False)
    with torch.no_grad():
        visual(torch.stack([transform(Image.fromarray(rgb)) for rgb in pictures]))
    output: Tensor = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    maps = output if output.ndim == 4 else output[:, 1:].transpose(1, 2).reshape(len(pictures), -1, 4, 4)
    measured = measure(subject, pictures, [Unit(layer.name, 7)])
    np.testing.assert_allclose(measured.maps[0], maps[:, 7], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("quick", [True, False])
def test_runs_with_the_activation_that_the_weights_were_trained_with(
    quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The architecture's own default is the plain GELU, for the tiny one here as for RN50 and ViT-B-32."""
    import open_clip
    from open_clip import factory, pretrained

    for name in ("RN50", "ViT-B-32"):
        assert open_clip.get_pretrained_cfg(name, "openai")["quick_gelu"]
        assert not open_clip.get_model_config(name).get("quick_gelu", False)
    monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny", VIT)
    tag = {"url": "https://example.org/tiny.safetensors", "quick_gelu": quick, "mean": (0.1,) * 3, "std": (0.3,) * 3}
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny", {"openai": tag})
    made(VIT, tmp_path)
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / "tiny.safetensors")
    subject = load("open_clip:tiny/openai", NetworkOptions(device="cpu", model_dir=tmp_path, offline=True))
    block = "transformer.resblocks.0.mlp"
    picture = subject.prepare(np.full((64, 64, 3), 90, np.uint8))
    answers = subject.look([picture], [f"{block}.c_fc", f"{block}.gelu"])
    before, after = (torch.from_numpy(answers[f"{block}.{part}"].maps(0, range(256))) for part in ("c_fc", "gelu"))
    expected = before * torch.sigmoid(1.702 * before) if quick else torch.nn.functional.gelu(before)
    torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-6)
    assert abs(before * torch.sigmoid(1.702 * before) - torch.nn.functional.gelu(before)).max() > 1e-4


def test_refuses_weights_of_another_network(tmp_path: Path) -> None:
    made(RESNET, tmp_path)
    with pytest.raises(PreconditionError) as caught:
        load("open_clip:ViT-B-32", NetworkOptions(device="cpu", weights=tmp_path / "open_clip_model.safetensors"))
    assert caught.value.reason == "WEIGHTS_UNUSABLE"


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [
        ("RN50", [Layer("layer1", 256, 56, 56), Layer("layer2", 512, 28, 28), Layer("layer4", 2048, 7, 7)]),
        ("ViT-B-32", [Layer(f"transformer.resblocks.{block}", 768, 7, 7) for block in (0, 11)]),
    ],
)
def test_the_towers_of_maia_have_its_layers(architecture: str, layers: list[Layer]) -> None:
    import open_clip

    config = open_clip.get_model_config(architecture)
    with torch.device("meta"):
        visual = open_clip.model._build_vision_tower(config["embed_dim"], config["vision_cfg"], quick_gelu=True)
    network = HookedNetwork(visual.to_empty(device="cpu"), 224, device=torch.device("cpu"), precision=Precision.FLOAT32)
    for layer in layers:
        layout = network.trace.layers[layer.name].layout
        assert (layout.units, layout.height, layout.width) == (layer.units, layer.map_height, layer.map_width)
