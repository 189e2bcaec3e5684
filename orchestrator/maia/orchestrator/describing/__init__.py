"""A backbone as describer: it puts pictures into words for the tools, in place of the description server."""

from maia.orchestrator.describing.backbone import BackboneDescriber

__all__ = ["BackboneDescriber"]
