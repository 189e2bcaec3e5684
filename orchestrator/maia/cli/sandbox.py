"""`maia sandbox`: the sandbox alone. What its commands do is in `maia.cli.blocks` and `maia.cli.isolation`."""

from __future__ import annotations

from typing import Annotated

import typer

from maia.cli import flags


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Run Python where it reaches nothing.")
    group.command("run")(run)
    group.command("tiers")(tiers)
    group.callback()(_group)
    app.add_typer(group, name="sandbox")


def _group() -> None:
    """Run Python where it reaches nothing."""


def run(
    files: Annotated[list[str], typer.Argument(metavar="FILE…", help="Python files, or - for standard input.")],
    *,
    sandbox_tier: flags.Tier = None,
    sandbox_address: flags.TierAddress = None,
    allow_unisolated: flags.AllowUnisolated = None,
    policy: flags.Policy = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Of the code's random generators.", show_default="0")
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print each outcome as a line of JSON instead of the output.")
    ] = False,
    wall_s: flags.WallSeconds = None,
    cpu_s: flags.CpuSeconds = None,
    memory_mb: flags.MemoryMb = None,
    output_bytes: flags.OutputBytes = None,
    tls_ca: flags.TlsCa = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    token_file: flags.TokenFile = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Run files in one isolated session, each as a block.

    Variables of a file are there for the next; after a block that fails the rest is not run. Output comes as it is
    printed; what a block came to, a traceback for one, goes to standard error. Ctrl-C stops the block. The exit code is
    0 if all blocks ran, 1 if one did not. For example:

        maia sandbox run --wall-s 10 --memory-mb 512 prepare.py analyse.py

        echo 'print(6 * 7)' | maia sandbox run -
    """
    given = dict(locals())
    from maia.cli.asynchronous import run_async  # help must not pay for what a session needs
    from maia.cli.blocks import read_blocks, run_blocks
    from maia.cli.config import load_config

    settings = load_config({name: value for name, value in given.items() if name not in ("files", "json_")})
    return run_async(run_blocks(settings, read_blocks(files), as_json=json_))


def tiers(*, config: flags.ConfigFile = None, cache_dir: flags.CacheDir = None) -> int:
    """Say how code can be isolated on this machine.

    Of each tier: what it enforces, what it does not, and what mends it where it does not work. The exit code is 0 if
    one of those that isolate works. For example:

        maia sandbox tiers
    """
    from maia.cli.asynchronous import run_async  # help must not pay for what a session needs
    from maia.cli.config import load_config
    from maia.cli.isolation import show_tiers

    return run_async(show_tiers(load_config({"config": config, "cache_dir": cache_dir})))
