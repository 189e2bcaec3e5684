"""`maia up`: its flags. What it does is in `maia.cli.attendance`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maia.cli import flags


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)


def up(
    *,
    model: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Subjects to host.", show_default="all that are there")
    ] = None,
    build: Annotated[
        bool, typer.Option("--build/--no-build", help="First find the exemplars that are not stored yet.")
    ] = True,
    certs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Certificates of `maia certs FOLDER`, for every server. Needed where other machines reach them.",
            show_default="what the settings of each server say",
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Those who may call, by token; `maia token` writes it."),
    ] = None,
    subject_address: flags.SubjectAddress = None,
    generation_address: flags.GenerationAddress = None,
    editing_address: flags.EditingAddress = None,
    exemplars_address: flags.ExemplarsAddress = None,
    description_address: flags.DescriptionAddress = None,
    dataset_size: flags.DatasetSize = None,
    tls_ca: flags.TlsCa = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    token_file: flags.TokenFile = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Start all tool servers on this machine, until Ctrl-C.

    `maia run` and `maia measure` find them at these addresses. Nothing is restarted: when a server ends, all end, and
    the end of its log is shown. For example:

        maia up --model scene-neurons
    """
    given = dict(locals())
    from maia.cli.asynchronous import run_async  # help must not pay for what the servers need
    from maia.cli.attendance import attend
    from maia.cli.config import load_config

    settings = load_config(
        {name: value for name, value in given.items() if name not in ("model", "build", "certs", "tokens")}
    )
    subjects = [name.strip() for name in (model or "").split(",") if name.strip()]
    return run_async(attend(settings, subjects, build=build, certs=certs, tokens=tokens))
