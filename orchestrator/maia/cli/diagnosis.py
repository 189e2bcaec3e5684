"""What `maia doctor` checks. Each check returns rows; none prints a key."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from maia.cli.config import KEYS, Config
from maia.cli.errors import DONE, FAILED, CommandError
from maia.cli.folders import check_writable, nearest
from maia.cli.hub import hub_rows
from maia.cli.isolation import sandbox_rows
from maia.cli.reach import (
    CERTIFICATES,
    SERVERS,
    certificate_rows,
    sandbox_host_rows,
    server_rows,
    servers_are_elsewhere,
)
from maia.cli.results import results_console
from maia.cli.rows import Mark, Row, table_of
from maia.cli.servers import exemplar_store

_TORCH_S: Final = 60.0
_FREE_MB: Final = 500
_DEMO_PACKAGES: Final = ("torch", "safetensors", "scipy")

_ASK_TORCH: Final = """
import json, torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
print(json.dumps({"version": torch.__version__, "devices": names + ["MPS"] * torch.backends.mps.is_available()}))
"""


async def diagnose(config: Config) -> int:
    """Print what works here.

    Returns:
        The exit code: 0 if what the settings name can be used; and if the embedded demo can run, unless they name every
        server.
    """
    elsewhere = servers_are_elsewhere(config)
    parts = await asyncio.gather(
        _python(),
        _packages(elsewhere=elsewhere),
        sandbox_rows(config),
        sandbox_host_rows(config),
        _accelerators(),
        _certificates(config),
        server_rows(config),
        _keys(config),
        hub_rows(config),
        _folders(config, elsewhere=elsewhere),
    )
    rows = [row for part in parts for row in part]
    show(results_console(), rows, elsewhere=elsewhere)
    return FAILED if any(row.mark == "bad" for row in rows) else DONE


def show(console: Console, rows: Sequence[Row], *, elsewhere: bool = False) -> None:
    """Print the table and its meaning.

    Args:
        console: Where to.
        rows: The lines of the table.
        elsewhere: Whether the settings name every server; then it is not asked whether the demo can run here.
    """
    console.print(table_of(rows))
    bad = [row for row in rows if row.mark == "bad"]
    here = [row for row in bad if row.topic not in (SERVERS, CERTIFICATES)]
    if elsewhere:
        verdict = f"{len(bad)} of these must be mended." if bad else "What the settings name can be used."
    elif here:
        verdict = f"maia demo cannot run here: {len(bad)} of these must be mended."
    elif bad:
        verdict = f"{len(bad)} of these must be mended; maia demo, which starts its own servers, can run here."
    else:
        verdict = "maia demo can run here."
    console.print(Text(verdict, "bold red" if bad else "bold green"))


async def _python() -> list[Row]:
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    found = f"{version} on {platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores"
    return [Row("Python", "good" if good else "bad", found if good else f"{found}; 3.11 or later is needed")]


async def _packages(*, elsewhere: bool) -> list[Row]:
    rows = [Row("packages", "good", f"maia {importlib.metadata.version('maia')}")]
    for name in _DEMO_PACKAGES:
        try:
            rows.append(Row("packages", "good", f"{name} {importlib.metadata.version(name)}"))
        except importlib.metadata.PackageNotFoundError:
            rows.append(
                Row("packages", "note", f"{name} is not installed; only servers that are started here need it")
                if elsewhere
                else Row("packages", "bad", f"{name} is not installed: pip install 'maia[demo]', or make setup")
            )
    return rows


async def _accelerators() -> list[Row]:
    if importlib.util.find_spec("torch") is None:
        seen = shutil.which("nvidia-smi") is not None
        return [
            Row(
                "accelerators", "note", "nvidia-smi is there, torch is not" if seen else "none (torch is not installed)"
            )
        ]
    # In a process of its own: the command line itself never loads torch.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ASK_TORCH, stdout=PIPE, stderr=DEVNULL, stdin=DEVNULL
    )
    try:
        async with asyncio.timeout(_TORCH_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return [Row("accelerators", "bad", f"importing torch took longer than {_TORCH_S:g} s")]
    if process.returncode != 0:
        return [Row("accelerators", "bad", f"torch does not import: try {sys.executable} -c 'import torch'")]
    devices = json.loads(output)["devices"]
    return [Row("accelerators", "good" if devices else "note", ", ".join(devices) or "none; models run on the CPU")]


async def _certificates(config: Config) -> list[Row]:
    return await asyncio.to_thread(certificate_rows, config)


async def _keys(config: Config) -> list[Row]:
    return [
        Row("keys", "good", f"{variable} is set")
        if getattr(config, name)
        else Row("keys", "note", f"{variable} is not set")
        for name, variable in KEYS.items()
    ]


async def _folders(config: Config, *, elsewhere: bool) -> list[Row]:
    cache = config.cache_dir
    try:
        check_writable(cache, "--cache-dir")
    except CommandError as error:
        return [Row("folders", "bad", error.message)]
    free = shutil.disk_usage(nearest(cache)).free // 2**20
    kept = sorted(path.name for path in (exemplar_store(config) / "sets").glob("*"))
    enough: Mark = "good" if free >= _FREE_MB else "note" if elsewhere else "bad"
    rows = [
        Row("folders", enough, f"cache {cache}: {free:,} MiB free"),
        Row("folders", "good" if kept else "note", f"exemplars kept: {', '.join(kept) or 'none; the demo finds them'}"),
    ]
    if config.config_file:
        rows.append(Row("folders", "good", f"settings from {config.config_file}"))
    return rows
