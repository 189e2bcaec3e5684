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
    from maia.cli.config import ADDRESSES, environment_of, load_config, table_of  # pydantic only when it is needed

    if name in ("-h", "--help", ""):
        sys.stdout.write(context.get_help() + "\n")
        raise typer.Exit
    if name not in ADDRESSES and name != "sandbox":
        raise CommandError(f"there is no server {name!r}; valid: {', '.join(ADDRESSES)}, sandbox")
    settings = load_config({"config": _value(context.args, "--config")})
    own: list[str] = []
    if settings.config_file is not None and _value(context.args, "--config") is None:
        own += ["--config", str(settings.config_file)]
    # Where the server itself is told to listen, in its table or its variable, that is meant.
    told = _value(context.args, "--listen") or os.environ.get(f"MAIA_{name.upper()}_LISTEN")
    if not told and "listen" not in table_of(name, settings.config_file):
        own += ["--listen", settings.own_address(name)]
    module = "maia.sandbox.remote" if name == "sandbox" else f"maia.services.{name}"
    # The server takes this process's place: signals and exit code need no relay.
    os.execve(sys.executable, [sys.executable, "-m", module, *own, *context.args], environment_of(name))  # noqa: S606  # the program is our own


def _value(arguments: list[str], flag: str) -> str | None:
    """Return what a flag of the server's was given; None if it was not."""
    for place, argument in enumerate(arguments):
        if argument == flag and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith(f"{flag}="):
            return argument.removeprefix(f"{flag}=")
    return None
