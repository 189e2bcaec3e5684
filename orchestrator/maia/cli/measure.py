"""`maia measure`: its flags. What it does is in `maia.cli.measurement`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maia.cli import flags


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(measure)


def measure(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE", help="PNG, JPEG or WebP files.")],
    *,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The subject, for example scenes-cnn.")] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="LAYER:INDEX", help="For example layer3:12; may be given several times.")
    ] = None,
    pooling: Annotated[str, typer.Option(metavar="max|mean", help="What of its map is a unit's activation.")] = "max",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where the masked views go.", show_default="here")
    ] = None,
    up: flags.Up = False,
    subject_address: flags.SubjectAddress = None,
    exemplars_address: flags.ExemplarsAddress = None,
    tls_ca: flags.TlsCa = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    token_file: flags.TokenFile = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Measure units on your own pictures, and write where each responds.

    The view of `cat.png` is `cat.layer3-12.png`: the picture, darkened wherever the unit does not respond. An older
    view of that name is replaced. For example:

        maia measure --up --model scenes-cnn --unit layer3:12 cat.png dog.jpg

    `maia subjects` lists layers, `maia ablate` says what a unit is good for.
    """
    from maia.cli.asynchronous import run_async  # help must not pay for what measuring needs
    from maia.cli.config import load_config
    from maia.cli.measurement import measure_files, parse_pooling
    from maia.cli.units import named_units

    settings = load_config(
        {
            "subject_address": subject_address,
            "exemplars_address": exemplars_address,
            "tls_ca": tls_ca,
            "tls_cert": tls_cert,
            "tls_key": tls_key,
            "token_file": token_file,
            "config": config,
            "cache_dir": cache_dir,
        }
    )
    units = named_units(model, unit or [])
    how = parse_pooling(pooling)
    return run_async(measure_files(settings, model or "", units, pictures, out or Path(), pooling=how, up=up))
