"""The images of one run: what an agent's code refers to, kept outside its sandbox."""

from maia.orchestrator.images.recipe import MaskRecipe
from maia.orchestrator.images.table import ImageLimits, ImageTable

__all__ = ["ImageLimits", "ImageTable", "MaskRecipe"]
