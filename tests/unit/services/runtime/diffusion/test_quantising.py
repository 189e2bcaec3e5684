"""Weights with fewer bits: what is loaded has them, and draws nearly the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.services.runtime.pictures import distance, never
from tests.unit.services.runtime.tiny_pipelines import flux, saved

from maia.services._runtime.diffusion.options import DiffusionOptions, Quantisation
from maia.services._runtime.diffusion.quantising import quantisation_of
from maia.services._runtime.diffusion.recipes import recipe_of
from maia.services.generation.backends.diffusers import DiffusersGenerator
from maia.services.generation.model import Wish

pytestmark = pytest.mark.filterwarnings("ignore")  # torchao warns of what it finds missing on this machine

WISH = Wish("a red apple", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(flux, tmp_path_factory.mktemp("flux") / "model")


def opened(folder: Path, **options: Any) -> DiffusersGenerator:
    return DiffusersGenerator(DiffusionOptions(str(folder), steps=3, width=32, height=32, **options))


def kinds(generator: DiffusersGenerator) -> set[str]:
    pipeline: Any = generator._runner.loaded.pipeline
    return {type(weights).__name__ for weights in pipeline.transformer.parameters()}


@pytest.mark.parametrize(("quantisation", "kind"), [("torchao-int8", "Int8Tensor"), ("torchao-fp8", "Float8Tensor")])
def test_torchao(folder: Path, quantisation: Quantisation, kind: str) -> None:
    plain, small = opened(folder), opened(folder, quantisation=quantisation)
    assert kind in kinds(small) - kinds(plain)
    assert plain.info.revision != small.info.revision
    assert distance(plain.draw([WISH], never)[0], small.draw([WISH], never)[0]) < 20


def test_gguf(folder: Path, tmp_path: Path) -> None:
    import gguf

    plain = opened(folder)
    pipeline: Any = plain._runner.loaded.pipeline
    file = tmp_path / "flux.gguf"
    writer = gguf.GGUFWriter(str(file), "flux")
    eight = gguf.GGMLQuantizationType.Q8_0
    for name, tensor in pipeline.transformer.state_dict().items():
        values = tensor.numpy()
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(values, eight), raw_dtype=eight)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    small = opened(folder, gguf=file)
    assert "GGUFParameter" in kinds(small)
    assert plain.info.revision != small.info.revision
    assert distance(plain.draw([WISH], never)[0], small.draw([WISH], never)[0]) < 20


@pytest.mark.parametrize("bits", ["8bit", "4bit"])
def test_bitsandbytes_is_told_of_the_denoiser_and_the_large_encoder(folder: Path, bits: str) -> None:
    import torch

    recipe = recipe_of("generation", "FluxPipeline", "x")
    assert recipe is not None
    options = DiffusionOptions(str(folder), quantisation=f"bitsandbytes-{bits}")  # type: ignore[arg-type]
    config: Any = quantisation_of(folder, recipe, options, torch.bfloat16)["quantization_config"]
    assert config.quant_backend == f"bitsandbytes_{bits}"
    assert set(config.components_to_quantize) == {"transformer", "text_encoder_2"}
    assert config.quant_kwargs[f"load_in_{bits}"] is True
