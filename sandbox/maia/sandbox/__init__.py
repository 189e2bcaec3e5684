"""Run untrusted Python, block by block, where it reaches nothing but the tools you hand it.

::

    async with Sandbox(tools=[search_catalogue], limits=Limits(wall_s=10, memory_mb=512)) as box:
        outcome = await box.run("print(search_catalogue('lamp'))")

`Sandbox` is one session with a host of its own, or with `address=` at a host elsewhere; `SyncSandbox` is the same
without `await`. Who opens many sessions keeps a `Host` (or a `RemoteHost`) and calls its `open` for each.

Names load on first use: importing the package imports neither NumPy nor protobuf nor gRPC. `maia.sandbox.guest` runs on
the other side of the wall; nothing here imports it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maia.sandbox.errors import (
        HostGoneError,
        ProtocolError,
        SandboxError,
        SessionError,
        SessionLostError,
        SessionsFullError,
        TierUnavailableError,
        ToolError,
    )
    from maia.sandbox.host.host import Host
    from maia.sandbox.host.report import TierReport, probe, probe_all
    from maia.sandbox.host.session import Session
    from maia.sandbox.host.tiers.choice import TierName
    from maia.sandbox.host.tiers.jail.plan import user_cache_dir
    from maia.sandbox.host.tiers.tier import Feature
    from maia.sandbox.host.tools import ImageSource, Tool
    from maia.sandbox.limits import Limits, Outcome, State, Status, Usage
    from maia.sandbox.protocol.toolspec import ToolSpec
    from maia.sandbox.protocol.types import ImageRef, Namespace, Pixels
    from maia.sandbox.remote.client import ClientCredentials, RemoteHost
    from maia.sandbox.remote.session import RemoteSession
    from maia.sandbox.sandbox import Sandbox
    from maia.sandbox.sync import SyncSandbox

_HOME = {
    "ClientCredentials": "remote.client",
    "Feature": "host.tiers.tier",
    "Host": "host.host",
    "HostGoneError": "errors",
    "ImageRef": "protocol.types",
    "ImageSource": "host.tools",
    "Limits": "limits",
    "Namespace": "protocol.types",
    "Outcome": "limits",
    "Pixels": "protocol.types",
    "ProtocolError": "errors",
    "RemoteHost": "remote.client",
    "RemoteSession": "remote.session",
    "Sandbox": "sandbox",
    "SandboxError": "errors",
    "Session": "host.session",
    "SessionError": "errors",
    "SessionLostError": "errors",
    "SessionsFullError": "errors",
    "State": "limits",
    "Status": "limits",
    "SyncSandbox": "sync",
    "TierName": "host.tiers.choice",
    "TierReport": "host.report",
    "TierUnavailableError": "errors",
    "Tool": "host.tools",
    "ToolError": "errors",
    "ToolSpec": "protocol.toolspec",
    "Usage": "limits",
    "probe": "host.report",
    "probe_all": "host.report",
    "user_cache_dir": "host.tiers.jail.plan",
}

__all__ = [
    "ClientCredentials",
    "Feature",
    "Host",
    "HostGoneError",
    "ImageRef",
    "ImageSource",
    "Limits",
    "Namespace",
    "Outcome",
    "Pixels",
    "ProtocolError",
    "RemoteHost",
    "RemoteSession",
    "Sandbox",
    "SandboxError",
    "Session",
    "SessionError",
    "SessionLostError",
    "SessionsFullError",
    "State",
    "Status",
    "SyncSandbox",
    "TierName",
    "TierReport",
    "TierUnavailableError",
    "Tool",
    "ToolError",
    "ToolSpec",
    "Usage",
    "probe",
    "probe_all",
    "user_cache_dir",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
