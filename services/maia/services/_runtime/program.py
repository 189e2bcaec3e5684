"""The program around a server: settings, logs, the model's thread, exit codes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from maia.services._runtime.model_thread import ModelThread
from maia.wire.logs import configure_logs
from maia.wire.program import reporting_errors
from maia.wire.server import Hosted, serve
from maia.wire.settings import ServerSettings, load_settings

_Settings = TypeVar("_Settings", bound=ServerSettings)
Host = Callable[[_Settings, ModelThread], Awaitable[Sequence[Hosted]]]
"""Builds the services of a server from its settings, loading models in their thread."""


# While OpenMP's threads wait for each other they spin, unless told otherwise before the library is loaded: beside other
# busy processes a forward pass took twelve times as much processor time.
_QUIET_THREADS: Final = ("OMP_WAIT_POLICY", "PASSIVE")


def run_server(name: str, kind: type[_Settings], host: Host[_Settings], arguments: Sequence[str]) -> int:
    """Run a server until it is told to stop.

    Returns:
        The exit code; see `reporting_errors`.
    """
    return reporting_errors(lambda: _run(name, kind, host, arguments))


def _run(name: str, kind: type[_Settings], host: Host[_Settings], arguments: Sequence[str]) -> None:
    settings = load_settings(kind, name, arguments, program=f"python -m maia.services.{name}")
    os.environ.setdefault(*_QUIET_THREADS)
    configure_logs(level=settings.log_level, log_format=settings.log_format)
    asyncio.run(_serve(name, host, settings))


async def _serve(name: str, host: Host[_Settings], settings: _Settings) -> None:
    with ModelThread(name) as thread:
        await serve(name, await host(settings, thread), settings.options)
