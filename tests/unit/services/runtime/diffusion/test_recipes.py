"""The table of defaults: its classes exist and take what it gives, and a distilled model has its own row."""

from __future__ import annotations

import inspect

import pytest

from maia.services._runtime.diffusion.recipes import RECIPES, Recipe, recipe_of
from maia.services._runtime.diffusion.sizes import editing_size

# The libraries' own deprecation warnings, at imports and in schedulers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.pipeline}-{recipe.named}")
def test_a_row_is_one_of_a_class_that_takes_its_arguments(recipe: Recipe) -> None:
    import diffusers

    takes = inspect.signature(getattr(diffusers, recipe.pipeline).__call__).parameters
    wanted = {recipe.guidance_name, "num_inference_steps", "generator", "output_type", *recipe.extra}
    if recipe.blank_negative:
        wanted.add("negative_prompt")
    if recipe.task == "editing":
        wanted.add("image")
    assert wanted <= set(takes)
    assert {"callback_on_step_end", "callback"} & set(takes)
    assert recipe.width
    assert recipe.height
    assert recipe.width % recipe.multiple == recipe.height % recipe.multiple == 0
    assert recipe.source


@pytest.mark.parametrize(
    ("pipeline", "model", "steps", "guidance", "side"),
    [
        ("FluxPipeline", "black-forest-labs/FLUX.1-dev", 28, 3.5, 1024),
        ("FluxPipeline", "black-forest-labs/FLUX.1-schnell", 4, 0.0, 1024),
        ("FluxPipeline", "/models/flux.1-schnell", 4, 0.0, 1024),
        ("FluxPipeline", "/schnell/models/flux.1-dev", 28, 3.5, 1024),
        ("StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-large", 28, 3.5, 1024),
        ("StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-large-turbo", 4, 0.0, 1024),
        ("StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-medium", 40, 4.5, 1024),
        ("StableDiffusionXLPipeline", "stabilityai/sdxl-turbo", 4, 0.0, 512),
        ("StableDiffusionXLPipeline", "stabilityai/stable-diffusion-xl-base-1.0", 50, 5.0, 1024),
        ("ZImagePipeline", "Tongyi-MAI/Z-Image-Turbo", 9, 0.0, 1024),
        ("QwenImagePipeline", "Qwen/Qwen-Image", 50, 4.0, 1328),
    ],
)
def test_the_numbers_of_a_model(pipeline: str, model: str, steps: int, guidance: float, side: int) -> None:
    recipe = recipe_of("generation", pipeline, model)
    assert recipe is not None
    assert (recipe.steps, recipe.guidance, recipe.width, recipe.height) == (steps, guidance, side, side)


def test_a_row_belongs_to_one_task() -> None:
    assert recipe_of("generation", "FluxKontextPipeline", "x") is None
    assert recipe_of("editing", "FluxPipeline", "x") is None


@pytest.mark.parametrize("picture", [(224, 224), (1920, 1080), (30, 4000), (1, 1), (500, 333)])
def test_kontext_edits_at_the_sizes_that_its_own_pipeline_would_choose(picture: tuple[int, int]) -> None:
    from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS

    recipe = recipe_of("editing", "FluxKontextPipeline", "x")
    assert recipe is not None
    size = editing_size(picture, recipe, 1024 * 1024)
    assert size in PREFERRED_KONTEXT_RESOLUTIONS
    shape = picture[0] / picture[1]
    assert abs(size[0] / size[1] - shape) == min(abs(w / h - shape) for w, h in PREFERRED_KONTEXT_RESOLUTIONS)


@pytest.mark.parametrize("picture", [(224, 224), (1920, 1080), (600, 900), (30, 4000), (4000, 1)])
def test_an_edited_picture_keeps_its_shape_within_the_area(picture: tuple[int, int]) -> None:
    recipe = recipe_of("editing", "StableDiffusionInstructPix2PixPipeline", "x")
    assert recipe is not None
    width, height = editing_size(picture, recipe, 512 * 512)
    assert width % 8 == height % 8 == 0
    assert abs(width * height / 512**2 - 1) < 0.05
    shape = min(max(picture[0] / picture[1], 1 / 3), 3)
    assert abs(width / height / shape - 1) < 0.05
