"""The program around a server: settings, logs, the model's thread, exit codes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.settings import ServerSettings, load_settings
from maia.wire.errors import InvalidRequestError, MaiaError
from maia.wire.logs import configure_logs
from maia.wire.server import Hosted, serve

_Settings = TypeVar("_Settings", bound=ServerSettings)
Host = Callable[[_Settings, ModelThread], Awaitable[Sequence[Hosted]]]
"""Builds the services of a server from its settings, loading models in their thread."""


# While OpenMP's threads wait for each other they spin, unless told otherwise before the library is loaded: beside other
# busy processes a forward pass took twelve times as much processor time.
_QUIET_THREADS: Final = ("OMP_WAIT_POLICY", "PASSIVE")


def run_server(name: str, kind: type[_Settings], host: Host[_Settings], arguments: Sequence[str]) -> int:
    """Run a server until it is told to stop.

    Returns:
        The exit code: 0 after an order to stop, 2 for a wrong setting or name, 1 for another failure; the message is
        one line on standard error.
    """
    return reporting_errors(lambda: _run(name, kind, host, arguments))


def reporting_errors(program: Callable[[], None]) -> int:
    """Run a program; say in one line what of ours it raised, and return its exit code."""
    try:
        program()
    except MaiaError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 2 if isinstance(error, InvalidRequestError) else 1
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(name: str, kind: type[_Settings], host: Host[_Settings], arguments: Sequence[str]) -> None:
    settings = load_settings(kind, name, arguments)
    os.environ.setdefault(*_QUIET_THREADS)
    configure_logs(level=settings.log_level, log_format=settings.log_format)
    asyncio.run(_serve(name, host, settings))


async def _serve(name: str, host: Host[_Settings], settings: _Settings) -> None:
    with ModelThread(name) as thread:
        await serve(name, await host(settings, thread), settings.options)
