"""A pipeline from its files: which class, in which number format, on which device."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from maia.services._runtime.devices import chosen_device
from maia.services._runtime.diffusion.files import pipeline_class
from maia.services._runtime.diffusion.options import DiffusionOptions, Task
from maia.services._runtime.diffusion.quantising import (
    check_quantisation,
    pipeline_parts,
    quantisation_of,
)
from maia.services._runtime.diffusion.recipes import RECIPES, Recipe, open_recipe, recipe_of
from maia.services._runtime.float32 import calculate_float32_fully
from maia.services._runtime.libraries import importing, require_libraries
from maia.services._runtime.model_files import files_revision, local_folder, reporting_missing
from maia.wire.errors import OutOfRangeError, PreconditionError

_LIBRARIES: Final = ("torch", "diffusers", "transformers", "accelerate")


class Output(Protocol):
    """What a pipeline returns.

    Attributes:
        images: float32, 0 to 1, shape (pictures, height, width, 3), if it was asked for "np".
    """

    images: NDArray[np.float32]


class Pipeline(Protocol):
    """What a `diffusers.DiffusionPipeline` can do; its classes have no common type for being called."""

    def __call__(self, **arguments: Any) -> Output: ...  # noqa: ANN401  each class has its own
    def to(self, device: str) -> object: ...
    def set_progress_bar_config(self, **config: bool) -> None: ...
    def enable_attention_slicing(self) -> None: ...
    def enable_model_cpu_offload(self, *, device: str) -> None: ...
    def enable_sequential_cpu_offload(self, *, device: str) -> None: ...
    def maybe_free_model_hooks(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pipeline, ready to run.

    Attributes:
        pipeline: On its device.
        recipe: How it is run.
        dtype: Of its numbers, for example "bfloat16".
        files: Name of exactly these files.
    """

    pipeline: Pipeline
    recipe: Recipe
    dtype: str
    files: str


def load(options: DiffusionOptions, task: Task) -> Loaded:
    """Load a pipeline; what is wrong with the options is said before any weight is read.

    Raises:
        PreconditionError: EXTRA_MISSING, EXTRA_UNUSABLE, DEVICE_MISSING, SETTING_INVALID, MODEL_UNNAMED, MODEL_MISSING,
            PIPELINE_UNKNOWN or MODEL_TOO_LARGE.
        OutOfRangeError: SIZE_INVALID, metadata "multiple".
    """
    require_libraries(*_LIBRARIES, extra="maia[serve]")
    device = _device(options)
    check_quantisation(options, device)
    recipe = chosen_recipe(pipeline_class(options), options.model, task)
    check_size(options, recipe)
    dtype = options.dtype if options.dtype != "auto" else ("float32" if device == "cpu" else recipe.dtype)
    folder = _downloaded(options)
    if dtype == "float32":
        calculate_float32_fully()
    pipeline = _placed(_pipeline(folder, recipe, options, dtype), options, device)
    return Loaded(pipeline, recipe, dtype, files_revision(folder, options.gguf))


def chosen_recipe(pipeline: str, model: str, task: Task) -> Recipe:
    """Return how to run a class for a task.

    Raises:
        PreconditionError: PIPELINE_UNKNOWN, metadata "pipeline" and "valid".
    """
    if recipe := recipe_of(task, pipeline, model):
        return recipe
    if task == "generation" and pipeline in _text_to_image():
        return open_recipe(pipeline)
    valid = ", ".join(dict.fromkeys(recipe.pipeline for recipe in RECIPES if recipe.task == task))
    raise PreconditionError(
        f"the model {model} is a {pipeline:.100}, which is no pipeline for {task}; choose a model of {valid}",
        reason="PIPELINE_UNKNOWN",
        metadata={"pipeline": pipeline[:100], "valid": valid},
    )


def check_size(options: DiffusionOptions, recipe: Recipe) -> None:
    """Refuse a size that the pipeline cannot make.

    Raises:
        OutOfRangeError: SIZE_INVALID, metadata "multiple".
    """
    for name, side in (("width", options.width), ("height", options.height)):
        if side is not None and (side <= 0 or side % recipe.multiple):
            raise OutOfRangeError(
                f"the {name} {side} is no multiple of {recipe.multiple}, as {recipe.pipeline} wants; choose one",
                reason="SIZE_INVALID",
                metadata={"multiple": str(recipe.multiple)},
            )


def _text_to_image() -> frozenset[str]:
    """Names of all classes that diffusers makes pictures from text with; slow, since it imports all of them."""
    with importing("diffusers"):
        auto: Any = import_module("diffusers.pipelines.auto_pipeline")
    return frozenset(kind.__name__ for kind in auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values())


def _device(options: DiffusionOptions) -> str:
    device = chosen_device(options.device)
    if device == "cpu" and options.offload != "none":
        raise PreconditionError(
            f"--offload {options.offload} moves models to an accelerator, and there is none; leave it out",
            reason="DEVICE_MISSING",
        )
    return device


def _downloaded(options: DiffusionOptions) -> Path:
    if folder := local_folder(options):
        return folder
    with importing("diffusers"):
        pipelines: Any = import_module("diffusers.pipelines.pipeline_utils")
    passed = dict.fromkeys(pipeline_parts(options))
    with reporting_missing(options):
        # Safe tensors only: the older format runs code when it is read.
        return Path(
            pipelines.DiffusionPipeline.download(
                options.model,
                revision=options.revision or None,
                variant=options.variant or None,
                local_files_only=options.offline,
                use_safetensors=True,
                **passed,
            )
        )


def _pipeline(folder: Path, recipe: Recipe, options: DiffusionOptions, dtype: str) -> Pipeline:
    import torch

    with importing("diffusers"):
        diffusers: Any = import_module("diffusers")
        diffusers.utils.logging.disable_progress_bar()
        kind = getattr(diffusers, recipe.pipeline)
    number_format = getattr(torch, dtype)
    with reporting_missing(options):
        pipeline: Pipeline = kind.from_pretrained(
            folder,
            dtype=number_format,
            variant=options.variant or None,
            use_safetensors=True,
            local_files_only=True,
            **quantisation_of(folder, recipe, options, number_format),
        )
    return pipeline


def _placed(pipeline: Pipeline, options: DiffusionOptions, device: str) -> Pipeline:
    import torch

    pipeline.set_progress_bar_config(disable=True)
    if options.attention_slicing:
        pipeline.enable_attention_slicing()
    try:
        if options.offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        elif options.offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        else:
            pipeline.to(device)
    except torch.OutOfMemoryError:
        raise PreconditionError(
            f"{options.model} does not fit into the memory of {device}; try --offload model or --quantisation",
            reason="MODEL_TOO_LARGE",
            metadata={"model": options.model},
        ) from None
    return pipeline
