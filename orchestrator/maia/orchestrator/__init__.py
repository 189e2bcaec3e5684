"""Explains units of networks by experiment, from Python.

::

    from maia.orchestrator import investigate_sync

    findings = investigate_sync("scenes-cnn", {"layer4": [64]}, agent="claude-…")
    findings[0].labels

`investigate` is the same for code that awaits. Names load on first use: importing the package imports no vendor's SDK
and no gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maia.orchestrator.agents.settings import BackboneKeys, BackboneSettings
    from maia.orchestrator.batch import Listener, Silent
    from maia.orchestrator.clients import Addresses
    from maia.orchestrator.events import UnitName
    from maia.orchestrator.findings import Exemplar, Finding
    from maia.orchestrator.investigating import investigate, investigate_sync
    from maia.orchestrator.tasks import Task, load_task, read_task_file
    from maia.orchestrator.toolbox import Toolbox, image_list, texts
    from maia.orchestrator.wiring import SandboxSettings

_HOME = {
    "Addresses": "clients",
    "BackboneKeys": "agents.settings",
    "BackboneSettings": "agents.settings",
    "Exemplar": "findings",
    "Finding": "findings",
    "Listener": "batch",
    "SandboxSettings": "wiring",
    "Silent": "batch",
    "Task": "tasks",
    "Toolbox": "toolbox",
    "UnitName": "events",
    "image_list": "toolbox",
    "investigate": "investigating",
    "investigate_sync": "investigating",
    "load_task": "tasks",
    "read_task_file": "tasks",
    "texts": "toolbox",
}

__all__ = [
    "Addresses",
    "BackboneKeys",
    "BackboneSettings",
    "Exemplar",
    "Finding",
    "Listener",
    "SandboxSettings",
    "Silent",
    "Task",
    "Toolbox",
    "UnitName",
    "image_list",
    "investigate",
    "investigate_sync",
    "load_task",
    "read_task_file",
    "texts",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
