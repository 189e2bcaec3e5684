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
from maia.wire.logs import configure_logs


async def attend(config: Config, subjects: Sequence[str], *, build: bool) -> NoReturn:
    """Start the servers and stay until one ends or somebody stops us.

    Args:
        config: Settings; the addresses say where the servers listen.
        subjects: What the subject server hosts; empty for its own default.
        build: First find the exemplars that are not stored yet.

    Raises:
        ServerDiedError: One did not start, or ended.
    """
    listen = {name: config.own_address(name) for name in ADDRESSES}
    others = [name for name in ADDRESSES if name != "subject"]
    check_writable(config.cache_dir, "--cache-dir")
    logs = config.cache_dir / "logs"
    async with Children(logs, environment_without_keys()) as children:
        with Progress(Console(stderr=True)) as progress:
            configure_logs(level="warning")  # after the view has begun, which shows them above itself
            progress.stage("starting the subject server")
            await children.start(server_commands(config, listen=listen, subjects=subjects, names=["subject"]))
            progress.done("the subject server is ready")
            if build:
                where = Deployment({"subject": children.running[0].address}, children)
                await build_sets(config, where, subjects, progress)
            progress.stage(f"starting {len(others)} more servers")
            await children.start(server_commands(config, listen=listen, names=others))
            progress.done("all servers are ready")
        show(results_console(), children.running, logs)
        raise await children.wait_for_an_end()


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
