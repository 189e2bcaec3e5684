"""How to write for each kind of model; enters an agent's system prompt."""

from __future__ import annotations

from typing import Final

from maia.services._runtime.diffusion.recipes import Recipe

_SHORT_READERS: Final = frozenset({"StableDiffusionPipeline", "StableDiffusionXLPipeline"})

_GENERATION: Final = (
    "Pictures are made by a large text-to-image model. Describe what is to be seen in plain English: the thing, how"
    " many of it, its colour and material, where it is, the background, and whether it is a photograph or a drawing."
    " Say what shall be there; what shall not be there is better left unsaid. To compare two pictures, change one"
    " thing of the prompt and keep the rest word for word."
)
_SHORT: Final = "Prompts of more than about 50 words are cut: put the thing that matters first."
_LONG: Final = "Whole sentences are understood, also several."
_EXAMPLES: Final = (
    "a photo of a red apple on a white table",
    "a close-up photo of striped fabric, blue and white",
    "a dog running over a green meadow under a cloudy sky",
)
_EDITING: Final = (
    "Pictures are edited by a large model that follows an instruction. Name the one change, as an order in plain"
    " English, and what it is made to; everything else is meant to stay, though small things may change with it. One"
    " change for each instruction."
)
_PIX2PIX: Final = "It changes colours, materials, seasons and styles well; it seldom removes or moves things."
_EDITS: Final = (
    "make the apple green",
    "replace the dog with a cat",
    "change the background to a snowy forest",
)


def prompt_guide(recipe: Recipe) -> str:
    """Return how to write prompts, then example prompts, each after "- "."""
    length = _SHORT if recipe.pipeline in _SHORT_READERS else _LONG
    return "\n".join([_GENERATION, length, "Example prompts:", *(f"- {prompt}" for prompt in _EXAMPLES)])


def instruction_guide(recipe: Recipe) -> str:
    """Return how to write instructions, then example instructions, each after "- "."""
    limits = [_PIX2PIX] if "Pix2Pix" in recipe.pipeline else []
    return "\n".join([_EDITING, *limits, "Example edits:", *(f"- {edit}" for edit in _EDITS)])
