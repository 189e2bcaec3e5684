"""The program around a server: settings, logs, the model's thread, exit codes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Final, TypeVar

from maia.services._runtime.memory import keep_freed_memory
from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.settings import ToolServerSettings
from maia.wire.limits import CONNECTION_AGE_S
from maia.wire.logs import configure_logs
from maia.wire.metrics import CallMetrics, exported
from maia.wire.program import reporting_errors
from maia.wire.server import Hosted, ServerOptions, check_options, serve
from maia.wire.settings import load_settings
from maia.wire.tracing import exporting

_Settings = TypeVar("_Settings", bound=ToolServerSettings)
Host = Callable[[_Settings, ModelThread, Metrics], AbstractAsyncContextManager[Sequence[Hosted]]]
"""Builds the services of a server from its settings, loading models in their thread; they serve within the context."""


# While OpenMP's threads wait for each other they spin, unless told otherwise before the library is loaded: beside other
# busy processes a forward pass took twelve times as much processor time.
QUIET_THREADS: Final = ("OMP_WAIT_POLICY", "PASSIVE")


def run_server(name: str, kind: type[_Settings], host: Host[_Settings], arguments: Sequence[str]) -> int:
    """Run a server until it is told to stop.

    Returns:
        The exit code; see `reporting_errors`.
    """
    return reporting_errors(lambda: _run(name, kind, host, arguments))


def _run(name: str, kind: type[_Settings], host: Host[_Settings], arguments: Sequence[str]) -> None:
    settings = load_settings(kind, name, arguments, program=f"python -m maia.services.{name}")
    os.environ.setdefault(*QUIET_THREADS)
    keep_freed_memory()
    configure_logs(level=settings.log_level, log_format=settings.log_format)
    options = settings.options
    check_options(options, name)
    asyncio.run(_serve(name, host, settings, options))


async def _serve(name: str, host: Host[_Settings], settings: _Settings, options: ServerOptions) -> None:
    metrics = Metrics()
    with (
        exporting(settings.traces, f"maia.{name}"),
        ModelThread(name) as thread,
        exported(metrics.registry, settings.metrics_listen, open_to_all=settings.metrics_open),
    ):
        options = replace(options, connection_age_s=CONNECTION_AGE_S, calls=CallMetrics(metrics.registry))
        async with host(settings, thread, metrics) as services:
            await serve(name, services, options)
