"""Weights with fewer bits: by bitsandbytes or torchao while they are loaded, or a GGUF file that has them already."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from maia.services._runtime.diffusion.files import INDEX
from maia.services._runtime.diffusion.options import DiffusionOptions
from maia.services._runtime.diffusion.recipes import Recipe
from maia.wire.errors import PreconditionError

if TYPE_CHECKING:
    import torch

_EXTRA: Final = "maia[quantisation]"
_LARGE_ENCODERS: Final = ("T5", "Qwen", "Mistral", "Gemma", "Llama")
_DENOISERS: Final = ("transformer", "unet")


def pipeline_parts(options: DiffusionOptions) -> tuple[str, ...]:
    """Return the parts of a pipeline that come from elsewhere, so that nobody downloads them."""
    return ("transformer",) if options.gguf else ()


def check_quantisation(options: DiffusionOptions, device: str) -> None:
    """Refuse what cannot be quantised so, before anything is read.

    Args:
        options: What is wanted.
        device: Where it shall run.

    Raises:
        PreconditionError: SETTING_INVALID, EXTRA_MISSING, DEVICE_MISSING; MODEL_MISSING for the GGUF file.
    """
    library = "gguf" if options.gguf else options.quantisation.partition("-")[0]
    if options.gguf and options.quantisation != "none":
        raise PreconditionError(
            f"{options.gguf} is quantised already; leave out --quantisation {options.quantisation}",
            reason="SETTING_INVALID",
        )
    if options.gguf and not options.gguf.is_file():
        raise PreconditionError(
            f"there is no file {options.gguf}; download the .gguf file of the pipeline's transformer to it",
            reason="MODEL_MISSING",
            metadata={"model": str(options.gguf)},
        )
    if library != "none" and importlib.util.find_spec(library) is None:
        raise PreconditionError(
            f"this quantisation needs {library}; install it by: pip install '{_EXTRA}'",
            reason="EXTRA_MISSING",
            metadata={"extra": _EXTRA},
        )
    if library == "bitsandbytes" and not device.startswith("cuda"):
        raise PreconditionError(
            f"bitsandbytes quantises for CUDA, not for {device}; torchao does for any device", reason="DEVICE_MISSING"
        )


def quantisation_of(
    folder: Path, recipe: Recipe, options: DiffusionOptions, number_format: torch.dtype
) -> Mapping[str, object]:
    """Return what `from_pretrained` is to be told.

    Args:
        folder: The pipeline's.
        recipe: Its recipe.
        options: Checked.
        number_format: In which it calculates.

    Raises:
        PreconditionError: SETTING_INVALID: a GGUF file for a pipeline without a transformer.
    """
    if options.gguf:
        return {"transformer": _from_gguf(folder, recipe, options.gguf, number_format)}
    if options.quantisation == "none":
        return {}
    library, _, kind = options.quantisation.partition("-")
    denoisers, encoders = _parts(folder)
    if library == "torchao":
        return {"quantization_config": _torchao(denoisers, kind)}
    return {"quantization_config": _bitsandbytes([*denoisers, *encoders], kind, number_format)}


def _bitsandbytes(parts: list[str], kind: str, number_format: torch.dtype) -> object:
    diffusers: Any = import_module("diffusers")
    if kind == "4bit":
        kwargs: dict[str, object] = {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_compute_dtype": number_format,
        }
    else:
        kwargs = {"load_in_8bit": True}
    return diffusers.PipelineQuantizationConfig(
        quant_backend=f"bitsandbytes_{kind}", quant_kwargs=kwargs, components_to_quantize=parts
    )


def _torchao(parts: list[str], kind: str) -> object:
    diffusers: Any = import_module("diffusers")
    torchao: Any = import_module("torchao.quantization")
    weights = torchao.Int8WeightOnlyConfig if kind == "int8" else torchao.Float8WeightOnlyConfig
    mapping = {part: diffusers.TorchAoConfig(weights()) for part in parts}
    return diffusers.PipelineQuantizationConfig(quant_mapping=mapping)


def _from_gguf(folder: Path, recipe: Recipe, file: Path, number_format: torch.dtype) -> object:
    diffusers: Any = import_module("diffusers")
    kinds = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    if "transformer" not in kinds:
        raise PreconditionError(
            f"a GGUF file takes the place of a transformer, and {recipe.pipeline} has none", reason="SETTING_INVALID"
        )
    return getattr(diffusers, kinds["transformer"][1]).from_single_file(
        str(file),
        quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=number_format),
        config=str(folder),
        subfolder="transformer",
        dtype=number_format,
    )


def _parts(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the denoiser and of the text encoders that are as large."""
    kinds = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    named = {part: kind[1] for part, kind in kinds.items() if isinstance(kind, list) and len(kind) == 2 and kind[1]}
    encoders = [
        part for part, kind in named.items() if part.startswith("text_encoder") and kind.startswith(_LARGE_ENCODERS)
    ]
    return [part for part in named if part in _DENOISERS], encoders
