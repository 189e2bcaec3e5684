"""`maia subjects`: its flags. What it does is in `maia.cli.introduction`."""

from __future__ import annotations

from typing import Annotated

import typer

from maia.cli import flags


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(subjects)


def subjects(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them, with all its layers.", show_default=False)
    ] = None,
    *,
    json_: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each subject instead, with its classes by name.")
    ] = False,
    up: flags.Up = False,
    subject_address: flags.SubjectAddress = None,
    tls_ca: flags.TlsCa = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    token_file: flags.TokenFile = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """List the subjects of the server, or the layers of one.

    Of a subject: its layers, what their units are (channels, classes, directions), the classes that it tells apart, the
    precision of its forward pass. One that is not in memory yet is loaded if it is named. For example:

        maia subjects

        maia subjects --up scenes-cnn
    """
    from maia.cli.asynchronous import run_async  # help must not pay for what asking a server needs
    from maia.cli.config import load_config
    from maia.cli.introduction import introduce

    settings = load_config(
        {
            "subject_address": subject_address,
            "tls_ca": tls_ca,
            "tls_cert": tls_cert,
            "tls_key": tls_key,
            "token_file": token_file,
            "config": config,
            "cache_dir": cache_dir,
        }
    )
    return run_async(introduce(settings, name, as_json=json_, up=up))
