"""`python -m maia.sandbox.remote`: a sandbox host for clients on other machines."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

import structlog

from maia.sandbox.errors import SandboxError
from maia.sandbox.host.host import Host
from maia.sandbox.host.tiers.jail.plan import user_cache_dir
from maia.sandbox.remote.metrics import SandboxMetrics
from maia.sandbox.remote.servicer import execution_service
from maia.sandbox.remote.settings import SandboxSettings
from maia.sandbox.remote.statuses import to_wire
from maia.wire.logs import configure_logs
from maia.wire.metrics import CallMetrics, exported
from maia.wire.program import reporting_errors
from maia.wire.server import ServerOptions, check_options, serve
from maia.wire.settings import load_settings

log = structlog.stdlib.get_logger("maia.sandbox")


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop; returns the exit code."""
    return reporting_errors(lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> None:
    settings = load_settings(SandboxSettings, "sandbox", arguments, program="python -m maia.sandbox.remote")
    configure_logs(level=settings.log_level, log_format=settings.log_format)
    options = settings.options
    check_options(options, "sandbox")
    asyncio.run(_serve(settings, options))


async def _serve(settings: SandboxSettings, options: ServerOptions) -> None:
    host = Host(
        tier=settings.tier,
        cache_dir=settings.cache_dir or user_cache_dir(os.environ),
        allow_unisolated=settings.allow_unisolated,
        pool_size=settings.pool_size,
    )
    metrics = SandboxMetrics()
    options = replace(options, calls=CallMetrics(metrics.registry))
    try:
        with exported(metrics.registry, settings.metrics_listen, open_to_all=settings.metrics_open):
            await _host(host, settings, options, metrics)
    except SandboxError as error:
        raise to_wire(error) from error


async def _host(host: Host, settings: SandboxSettings, options: ServerOptions, metrics: SandboxMetrics) -> None:
    async with host:
        if host.tier == "none":
            log.warning("nothing is isolated: code of clients can do all that this user can")
        await serve("sandbox", [execution_service(host, settings.max_sessions, metrics)], options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
