"""One batch of pictures from a pipeline: a seed each, stopped between steps, with every verdict told."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray

from maia.services._runtime.diffusion.loading import Loaded, Pipeline
from maia.services._runtime.diffusion.options import DiffusionOptions
from maia.services._runtime.diffusion.prompts import Reader
from maia.services._runtime.diffusion.recipes import Recipe
from maia.services._runtime.diffusion.sizes import Size
from maia.services._runtime.jobs import Abandoned
from maia.services._runtime.results import MadePicture
from maia.wire.errors import CancelledError, InternalError, InvalidRequestError, MaiaError
from maia.wire.pictures import Rgb, encode_png

_log = structlog.get_logger(__name__)

WITHHELD: Final = "the safety checker withheld this picture; it is black"


@dataclass(frozen=True, slots=True)
class Order:
    """One picture to make; `source` is the picture to edit, at the size of the run."""

    prompt: str
    seed: int
    source: Rgb | None = None


class PipelineRunner:
    """Runs a loaded pipeline. For the model's thread only: a pipeline keeps the state of its run in itself.

    Args:
        loaded: The pipeline.
        options: With which it was loaded.

    Raises:
        InvalidRequestError: SETTING_INVALID: a number is set that the pipeline does not take.
    """

    def __init__(self, loaded: Loaded, options: DiffusionOptions) -> None:
        self._loaded = loaded
        self._takes = frozenset(inspect.signature(loaded.pipeline.__call__).parameters)
        _check_taken(options, loaded.recipe, self._takes)
        self._reader = Reader(loaded.pipeline, self._takes, loaded.recipe.extra)
        recipe = loaded.recipe
        self._steps = recipe.steps if options.steps is None else options.steps
        self._guidance = recipe.guidance if options.guidance is None else options.guidance
        self._size = (
            options.width or recipe.width or _own_side(loaded.pipeline),
            options.height or recipe.height or _own_side(loaded.pipeline),
        )
        self._weights = [options.variant, options.gguf.name if options.gguf else options.quantisation]
        if not _callback(self._takes, lambda: False):
            _log.warning("runs_cannot_be_stopped", pipeline=recipe.pipeline)

    @property
    def size(self) -> Size:
        """Width and height of its pictures; for an editor, their product is the area."""
        return self._size

    @property
    def loaded(self) -> Loaded:
        """What it runs."""
        return self._loaded

    def revision(self, code: str) -> str:
        """Return 12 hexadecimal digits that change whenever the same order may give another picture.

        Args:
            code: Name of the code that calls this.
        """
        import diffusers
        import torch

        weights = [self._loaded.files, self._loaded.dtype, *self._weights]
        parts = [code, *weights, self._steps, self._guidance, self._size]
        versions = [diffusers.__version__, str(torch.__version__)]
        return hashlib.sha256(json.dumps([*parts, *versions]).encode()).hexdigest()[:12]

    def run(self, orders: Sequence[Order], size: Size, abandoned: Abandoned) -> list[MadePicture | MaiaError]:
        """Make pictures of one size together; each is the same alone, but for rounding.

        Args:
            orders: All with a source, or none.
            size: Width and height, as multiples that the recipe wants.
            abandoned: Asked before the first step and after each.

        Returns:
            A picture for each order, or the error of an order that failed alone.

        Raises:
            CancelledError: Nobody waits for the pictures any more.
            torch.OutOfMemoryError: They are too many, or too large.
        """
        if not self._loaded.recipe.together and len(orders) > 1:
            return [made for order in orders for made in self.run([order], size, abandoned)]
        _check(abandoned)
        pipeline = self._loaded.pipeline
        try:
            output = pipeline(**self._arguments(orders, size, abandoned))
        except BaseException:
            pipeline.maybe_free_model_hooks()  # as its own last line does, which was not reached
            raise
        withheld = getattr(output, "nsfw_content_detected", None) or [False] * len(orders)
        return [
            _made(pixels, (*self._reader.cut(order.prompt), *([WITHHELD] if black else [])), self._loaded.dtype)
            for pixels, black, order in zip(output.images, withheld, orders, strict=True)
        ]

    def _arguments(self, orders: Sequence[Order], size: Size, abandoned: Abandoned) -> Mapping[str, Any]:
        import torch

        recipe = self._loaded.recipe
        arguments: dict[str, Any] = {
            "prompt": [order.prompt for order in orders],
            # On the processor: an accelerator's own would draw other pictures than another kind of accelerator.
            "generator": [torch.Generator("cpu").manual_seed(order.seed) for order in orders],
            "output_type": "np",
            **recipe.extra,
            **_callback(self._takes, abandoned),
        }
        arguments |= {"width": size[0], "height": size[1]} if {"width", "height"} <= self._takes else {}
        arguments |= {"max_area": size[0] * size[1], "_auto_resize": False} if "max_area" in self._takes else {}
        arguments |= {"num_inference_steps": self._steps} if self._steps is not None else {}
        arguments |= {recipe.guidance_name: self._guidance} if self._guidance is not None else {}
        arguments |= {"negative_prompt": [" "] * len(orders)} if recipe.blank_negative else {}
        sources = [_image(order.source) for order in orders if order.source is not None]
        return arguments | ({"image": sources} if sources else {})


def _check_taken(options: DiffusionOptions, recipe: Recipe, takes: frozenset[str]) -> None:
    parameters = {"steps": "num_inference_steps", "guidance": recipe.guidance_name}
    if recipe.task == "generation":
        parameters |= {"width": "width", "height": "height"}
    for setting, parameter in parameters.items():
        if getattr(options, setting) is not None and parameter not in takes:
            raise InvalidRequestError(
                f"{recipe.pipeline} takes no {setting}; leave out --{setting}", reason="SETTING_INVALID"
            )


def _callback(takes: frozenset[str], abandoned: Abandoned) -> Mapping[str, Callable[..., object]]:
    """What stops a run between steps, by the name under which the pipeline takes it.

    It raises, since a pipeline that is only told to interrupt itself still decodes a picture that nobody wants.
    """

    def step_ended(pipeline: object, step: int, timestep: object, state: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001  the library's signature
        _check(abandoned)
        return {}

    if "callback_on_step_end" in takes:
        return {"callback_on_step_end": step_ended}
    if "callback" in takes:  # what it was called before; StableDiffusionXLInstructPix2PixPipeline has no other
        return {"callback": lambda *_: _check(abandoned)}
    return {}


def _check(abandoned: Abandoned) -> None:
    if abandoned():
        raise CancelledError("nobody waits for these pictures any more; the run was stopped")


def _made(pixels: NDArray[np.float32], warnings: tuple[str, ...], dtype: str) -> MadePicture | MaiaError:
    if not np.isfinite(pixels).all():
        return InternalError(
            f"the pipeline calculated a picture that has no colours (not a number, in {dtype}); try another --dtype",
            reason="PICTURE_NOT_FINITE",
        )
    return MadePicture(encode_png((pixels * 255).round().astype(np.uint8)), warnings)


def _image(rgb: Rgb) -> object:
    from PIL import Image

    return Image.fromarray(rgb, "RGB")


def _own_side(pipeline: Pipeline) -> int:
    """The side of a picture for which the model's files were made, in pixels."""
    denoiser = getattr(pipeline, "transformer", None) or getattr(pipeline, "unet", None)
    cells = getattr(getattr(denoiser, "config", None), "sample_size", None)
    factor = getattr(pipeline, "vae_scale_factor", None)
    return cells * factor if isinstance(cells, int) and isinstance(factor, int) else 1024
