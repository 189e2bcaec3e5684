"""How each pipeline is run unless the settings say otherwise: steps, guidance, size, number format.

One class of diffusers serves several models, and a distilled one wants other numbers: rows with a pattern for the
model's name come first. Numbers are those of the model's own card on the Hugging Face hub, or the defaults of the class
in diffusers 0.42, as each row says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from maia.services._runtime.diffusion.options import Task


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row.

    Attributes:
        pipeline: Name of the class in diffusers.
        task: Which server runs it.
        steps: None where the class decides; so for the next.
        guidance: How strictly the prompt is followed.
        source: Where the numbers are from.
        width: Of a picture in pixels; an editor takes width × height as the area. None where the model's files decide.
        height: See width.
        guidance_name: The parameter that takes the guidance.
        dtype: On an accelerator.
        multiple: Width and height must be multiples of it.
        named: Pattern that the model's name must have, any case; "" fits every name.
        blank_negative: Whether guidance needs a negative prompt, for which a blank does.
        together: Whether several pictures may share a run.
        extra: Further arguments.
    """

    pipeline: str
    task: Task
    steps: int | None
    guidance: float | None
    source: str
    width: int | None = 1024
    height: int | None = 1024
    guidance_name: str = "guidance_scale"
    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    multiple: int = 16
    named: str = ""
    blank_negative: bool = False
    together: bool = True
    extra: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def fits(self, task: Task, pipeline: str, model: str) -> bool:
        """Whether the row is for this class and model."""
        return (self.task, self.pipeline) == (task, pipeline) and bool(re.search(self.named, model, re.IGNORECASE))


def _sdxl(steps: int, guidance: float, side: int, source: str, named: str = "") -> Recipe:
    return Recipe(
        "StableDiffusionXLPipeline",
        "generation",
        steps,
        guidance,
        source,
        side,
        side,
        dtype="float16",
        multiple=8,
        named=named,
    )


def _sd(steps: int, guidance: float, source: str, named: str = "") -> Recipe:
    return Recipe(
        "StableDiffusionPipeline",
        "generation",
        steps,
        guidance,
        source,
        512,
        512,
        dtype="float16",
        multiple=8,
        named=named,
    )


def _pix2pix(pipeline: str, steps: int, guidance: float, side: int, source: str) -> Recipe:
    return Recipe(
        pipeline,
        "editing",
        steps,
        guidance,
        source,
        side,
        side,
        dtype="float16",
        multiple=8,
        extra=MappingProxyType({"image_guidance_scale": 1.5}),
    )


def _qwen(
    pipeline: str, task: Task, source: str, *, steps: int = 50, side: int = 1024, together: bool = True
) -> Recipe:
    return Recipe(
        pipeline,
        task,
        steps,
        4.0,
        source,
        side,
        side,
        guidance_name="true_cfg_scale",
        blank_negative=True,
        together=together,
    )


RECIPES: Final[tuple[Recipe, ...]] = (
    Recipe(
        "FluxPipeline",
        "generation",
        4,
        0.0,
        "card of black-forest-labs/FLUX.1-schnell",
        named="schnell",
        extra=MappingProxyType({"max_sequence_length": 256}),
    ),
    Recipe(
        "FluxPipeline", "generation", 28, 3.5, "class; the card of black-forest-labs/FLUX.1-dev has 3.5 with 50 steps"
    ),
    Recipe(
        "StableDiffusion3Pipeline",
        "generation",
        4,
        0.0,
        "card of stabilityai/stable-diffusion-3.5-large-turbo",
        named="turbo",
    ),
    Recipe(
        "StableDiffusion3Pipeline",
        "generation",
        40,
        4.5,
        "card of stabilityai/stable-diffusion-3.5-medium",
        named=r"3\.5-medium",
    ),
    Recipe("StableDiffusion3Pipeline", "generation", 28, 3.5, "card of stabilityai/stable-diffusion-3.5-large"),
    _sdxl(4, 0.0, 512, "card of stabilityai/sdxl-turbo: 1 to 4 steps, better with more", named="turbo"),
    _sdxl(50, 5.0, 1024, "class"),
    _sd(4, 0.0, "card of stabilityai/sd-turbo: 1 to 4 steps, better with more", named="turbo"),
    _sd(50, 7.5, "class"),
    Recipe("ZImagePipeline", "generation", 9, 0.0, "card of Tongyi-MAI/Z-Image-Turbo", named="turbo"),
    Recipe("ZImagePipeline", "generation", 50, 5.0, "class"),
    _qwen("QwenImagePipeline", "generation", "card of Qwen/Qwen-Image", side=1328),
    Recipe(
        "FluxKontextPipeline", "editing", 28, 2.5, "card of black-forest-labs/FLUX.1-Kontext-dev; steps of the class"
    ),
    _pix2pix("StableDiffusionInstructPix2PixPipeline", 100, 7.5, 512, "class; as the authors' own program"),
    _pix2pix("StableDiffusionXLInstructPix2PixPipeline", 30, 3.0, 768, "card of diffusers/sdxl-instructpix2pix-768"),
    _qwen("QwenImageEditPipeline", "editing", "card of Qwen/Qwen-Image-Edit"),
    # Its list of pictures is several views of one subject, so a run makes one picture.
    _qwen("QwenImageEditPlusPipeline", "editing", "card of Qwen/Qwen-Image-Edit-2509", steps=40, together=False),
)


def recipe_of(task: Task, pipeline: str, model: str) -> Recipe | None:
    """Return the first row that fits, None if the class is not in the table.

    Args:
        task: Which server asks.
        pipeline: Name of the class, as `model_index.json` has it.
        model: Name or folder of the model.
    """
    name = "/".join(Path(model).parts[-2:])  # of a folder, what is above it says nothing of the model
    return next((recipe for recipe in RECIPES if recipe.fits(task, pipeline, name)), None)


def open_recipe(pipeline: str) -> Recipe:
    """Return the recipe of a text-to-image class outside the table: the class and the model's files decide."""
    return Recipe(pipeline, "generation", None, None, "class", None, None)
