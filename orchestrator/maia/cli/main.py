"""`maia`: the command line. Each command is a module that imports what it needs when it runs, so that help is quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import typer

from maia.cli import (
    ablate,
    ask,
    certs,
    demo,
    doctor,
    exemplars,
    measure,
    report,
    run,
    sandbox,
    serve,
    subjects,
    synthetic,
    up,
)
from maia.cli.errors import DONE, INTERRUPTED, QUIET_GRPC, reporting

HELP: Final = """Let an agent explain the units of a neural network by experiments.

Try `maia demo`; then `maia run`. See what works on this machine with `maia doctor`."""


def _hyphens(name: str) -> str:
    """MAIA spells its flags with underscores; both spellings mean the same."""
    return name.replace("_", "-")


app: Final = typer.Typer(
    help=HELP,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"token_normalize_func": _hyphens, "help_option_names": ["-h", "--help"]},
)
for _module in (
    demo,
    run,
    ask,
    subjects,
    measure,
    ablate,
    up,
    serve,
    sandbox,
    exemplars,
    synthetic,
    report,
    certs,
    doctor,
):
    _module.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        The exit code; `maia.cli.errors` lists them.
    """
    if arguments is None:
        os.environ.setdefault(*QUIET_GRPC)
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)

    def program() -> int:
        code: object = command.main(given or ["--help"], prog_name="maia", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt  # typer has turned it into a code, without a word
        return code if isinstance(code, int) else DONE

    return reporting(program)
