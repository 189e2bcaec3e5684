"""The scripted agent; see `backbone`."""

from maia.orchestrator.agents.scripted.backbone import ScriptedBackbone

__all__ = ["ScriptedBackbone"]
