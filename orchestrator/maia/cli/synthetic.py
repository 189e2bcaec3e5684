"""`maia synthetic`: makes neurons whose truth is known, on photographs."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Neurons whose truth is known, on photographs.")
    # Flags are the program's own, --help among them.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    group.command("create", context_settings=settings)(create)
    group.callback()(_group)
    app.add_typer(group, name="synthetic")


def _group() -> None:
    """Neurons whose truth is known, on photographs."""


def create(context: typer.Context) -> NoReturn:
    """Run units over pictures and keep those that drive each most.

    What it can be told: `maia synthetic create --help`. For example:

        maia synthetic create --mode or --labels dog_leash,tie_collar --dataset photographs --out synthetic_neurons
    """
    program = [sys.executable, "-m", "maia.services.synthetic", "create", *context.args]
    # It takes this process's place: signals and exit code need no relay.
    os.execv(sys.executable, program)  # noqa: S606  our own
