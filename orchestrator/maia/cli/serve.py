"""`maia serve`: one server in the foreground."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from maia.cli.errors import CommandError


def register(app: typer.Typer) -> None:
    """Add the command."""
    # Flags after the name are the server's own, --help among them.
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(context_settings=settings)(serve)


def serve(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="subject, generation, editing, exemplars, description or sandbox.")
    ] = "",
) -> NoReturn:
    """Run one server in the foreground, with its own flags.

    It listens where `maia run` expects it, the sandbox at 127.0.0.1:7416, and logs to standard error; Ctrl-C ends it.
    What it can be told: `maia serve subject --help`. For example:

        maia serve subject --model scenes-cnn

        maia serve sandbox --max-sessions 50
    """
    from maia.cli.config import ADDRESSES, for_servers, load_config  # pydantic only when it is needed

    if name in ("-h", "--help", ""):
        sys.stdout.write(context.get_help() + "\n")
        raise typer.Exit
    if name not in ADDRESSES and name != "sandbox":
        raise CommandError(f"there is no server {name!r}; valid: {', '.join(ADDRESSES)}, sandbox")
    settings = load_config({})
    module = "maia.sandbox.remote" if name == "sandbox" else f"maia.services.{name}"
    listen = () if _has(context.args, "--listen") else ("--listen", settings.own_address(name))
    # The server takes this process's place: signals and exit code need no relay.
    os.execve(sys.executable, [sys.executable, "-m", module, *listen, *context.args], for_servers())  # noqa: S606  # the program is our own


def _has(arguments: list[str], flag: str) -> bool:
    return any(argument == flag or argument.startswith(f"{flag}=") for argument in arguments)
