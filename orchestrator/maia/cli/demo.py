"""`maia demo`: the whole system on this machine, with nothing to download and no key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from maia.cli import flags

UNITS: Final = (("scene-neurons", "mono=23:or=3:and=1"), ("scenes-cnn", "layer4=64"))
"""One concept, either of two, both of two; and a channel of the trained network."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where results go; an older demo there makes room.")
    ] = Path("results/demo"),
    open_: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Let the scripted agent investigate four units of two small networks.

    It starts servers of its own, needs no key, no GPU and no download, and ends with a table and a report. For example:

        maia demo --open
    """
    from maia.cli.asynchronous import run_async  # help must not pay for what a run needs
    from maia.cli.command_line import as_called
    from maia.cli.config import load_config
    from maia.cli.investigation import Request, investigate
    from maia.cli.units import Wish
    from maia.orchestrator.tasks.task import DEFAULT

    settings = load_config({"out": out, "config": config, "cache_dir": cache_dir, "agent": "scripted", "task": DEFAULT})
    wishes = [Wish.of(model, "manual", units=units, file=None, count=None) for model, units in UNITS]
    code = run_async(investigate(settings, Request(wishes, up=True, fresh=True)))
    typer.echo(_NEXT.format(maia=as_called()))
    index = (settings.out / "index.html").resolve()
    if open_ and index.exists():
        typer.launch(str(index))
    return code


_NEXT: Final = """
Next:
  {maia} run --up --model scenes-cnn --unit-mode random --num-of-units 2
  {maia} measure --up --model scenes-cnn --unit layer3:12 YOUR-PICTURE.png
  {maia} run --up --agent claude-… --model scene-neurons --units or=5      (set ANTHROPIC_API_KEY first)"""
