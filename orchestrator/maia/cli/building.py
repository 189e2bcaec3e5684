"""What `maia exemplars build` does."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from maia.cli.config import Config
from maia.cli.errors import DONE
from maia.cli.exemplar_sets import build_sets
from maia.cli.folders import check_writable
from maia.cli.progress import Progress
from maia.cli.servers import deployment, exemplar_store
from maia.wire.logs import configure_logs


async def build_exemplars(config: Config, subjects: Sequence[str], *, up: bool) -> int:
    """Find and store exemplars.

    Args:
        config: Settings.
        subjects: Their names; empty for all that the server hosts.
        up: Start a subject server for this command only.

    Returns:
        The exit code.

    Raises:
        ServerDownError: The subject server does not answer.
    """
    check_writable(config.cache_dir, "--cache-dir")
    with Progress(Console(stderr=True)) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        async with deployment(config, progress, up=up, subjects=subjects, names=["subject"]) as where:
            await build_sets(config, where, subjects, progress)
    Console().print(f"Exemplars: {exemplar_store(config)}", highlight=False, soft_wrap=True)
    return DONE
