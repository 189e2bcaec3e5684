"""What `maia up` does: starts the servers at their known addresses, stays with them, and says how they ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maia.cli.children import Child, Children
from maia.cli.config import ADDRESSES, Config, environment_without_keys
from maia.cli.exemplar_sets import build_sets
from maia.cli.folders import check_writable
from maia.cli.progress import Progress
from maia.cli.results import results_console
from maia.cli.servers import Deployment, server_commands
from maia.wire.certificates import ORCHESTRATOR, files_of
from maia.wire.logs import configure_logs
from maia.wire.tls import ClientCredentials


async def attend(
    config: Config, subjects: Sequence[str], *, build: bool, certs: Path | None = None, tokens: Path | None = None
) -> NoReturn:
    """Start the servers and stay until one ends or somebody stops us.

    Args:
        config: Settings; the addresses say where the servers listen.
        subjects: What the subject server hosts; empty for its own default.
        build: First find the exemplars that are not stored yet.
        certs: Folder of `maia certs`, for certificates of every server and our own.
        tokens: File of `maia token`, for every server.

    Raises:
        ServerDiedError: One did not start, or ended.
    """
    wire = {name: _wire(name, certs, tokens) for name in ADDRESSES}
    credentials = _own(certs, config)
    listen = {name: config.own_address(name) for name in ADDRESSES}
    others = [name for name in ADDRESSES if name != "subject"]
    check_writable(config.cache_dir, "--cache-dir")
    logs = config.cache_dir / "logs"
    async with Children(logs, environment_without_keys()) as children:
        with Progress(Console(stderr=True)) as progress:
            configure_logs(level="warning")  # after the view has begun, which shows them above itself
            progress.stage("starting the subject server")
            await children.start(
                server_commands(config, listen=listen, subjects=subjects, names=["subject"], wire=wire)
            )
            progress.done("the subject server is ready")
            if build:
                where = Deployment({"subject": children.running[0].address}, children, credentials)
                await build_sets(config, where, subjects, progress)
            progress.stage(f"starting {len(others)} more servers")
            await children.start(server_commands(config, listen=listen, names=others, wire=wire))
            progress.done("all servers are ready")
        show(results_console(), children.running, logs)
        raise await children.wait_for_an_end()


def _wire(name: str, certs: Path | None, tokens: Path | None) -> tuple[str, ...]:
    """Flags of one server."""
    flags: tuple[str, ...] = ()
    if certs is not None:
        ca, certificate, key = files_of(certs, name)
        flags += ("--tls-cert", str(certificate), "--tls-key", str(key), "--tls-client-ca", str(ca))
    return (*flags, "--tokens", str(tokens)) if tokens is not None else flags


def _own(certs: Path | None, config: Config) -> ClientCredentials | None:
    """Credentials of this command, which asks its subject server about its layers."""
    given = config.credentials
    if certs is None or (given is not None and given.encrypts):
        return given
    return ClientCredentials(*files_of(certs, ORCHESTRATOR), given.token if given is not None else None)


def show(console: Console, children: Sequence[Child], logs: Path) -> None:
    """Print one row per server, and where their logs are."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("server", "address", "pid", "ready"):
        table.add_column(title, overflow="fold", justify="right" if title == "pid" else "left")
    for child in children:
        ready = Text("✓", style="green")
        table.add_row(child.name, child.address, str(child.pid), ready)
    console.print(table)
    console.print(Text(f"Logs: {logs}"), soft_wrap=True)
    console.print("Serving until Ctrl-C. In another terminal: maia run, maia measure, maia doctor", highlight=False)
