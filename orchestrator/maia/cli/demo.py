"""`maia demo`: the whole system on this machine, with nothing to download and no key."""

from __future__ import annotations

import shutil
import sys
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
    from maia.cli.config import load_config
    from maia.cli.investigation import investigate
    from maia.cli.units import Wish
    from maia.orchestrator.tasks.task import DEFAULT

    settings = load_config({"out": out, "config": config, "cache_dir": cache_dir, "agent": "scripted", "task": DEFAULT})
    wishes = [Wish.of(model, "manual", units=units, file=None, count=None) for model, units in UNITS]
    code = run_async(investigate(settings, wishes, up=True, fresh=True, dialogue=False))
    typer.echo(_NEXT.format(maia=_as_called()))
    index = (settings.out / "index.html").resolve()
    if open_ and index.exists():
        typer.launch(str(index))
    return code


def _as_called() -> str:
    """How to call `maia` again: `make demo` leaves it in .venv/bin, where no shell looks."""
    if shutil.which("maia"):
        return "maia"
    return sys.argv[0] if Path(sys.argv[0]).name == "maia" else f"{sys.executable} -m maia.cli"


_NEXT: Final = """
Next:
  {maia} run --up --model scenes-cnn --unit-mode random --num-of-units 2
  {maia} measure --up --model scenes-cnn --unit layer3:12 YOUR-PICTURE.png
  {maia} run --up --agent claude-… --model scene-neurons --units or=5      (set ANTHROPIC_API_KEY first)"""
