"""`maia ablate`: its flags. What it does is in `maia.cli.ablation`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maia.cli import flags


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ablate)


def ablate(
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE", help="PNG, JPEG or WebP files.")],
    *,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The subject, a classifier, for example resnet152.")
    ] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER:INDEX", help="A channel, for example layer4:122; may be given several times."),
    ] = None,
    hold: Annotated[
        str, typer.Option(metavar="VALUE|mean", help="What the unit is held at; mean is its own over all pictures.")
    ] = "0",
    top: Annotated[int, typer.Option(min=1, metavar="N", help="How many classes of each picture are shown.")] = 5,
    json_: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each picture and unit instead of the table.")
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
    """Hold units at a value, and show which classes of a picture change most by that.

    A unit is a channel, and is held at every place of its map; several are held one at a time. Of each picture come the
    classes whose probability changes most, with and without. For example:

        maia ablate --up --model resnet152 --unit layer4:122 cat.png dog.jpg

        maia ablate --model resnet152 --unit layer4:122 --hold mean --json *.png
    """
    from maia.cli.ablation import ablate_files, parse_hold
    from maia.cli.asynchronous import run_async  # help must not pay for what measuring needs
    from maia.cli.config import load_config
    from maia.cli.units import named_units

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
    units = named_units(model, unit or [])
    value = parse_hold(hold)
    return run_async(ablate_files(settings, model or "", units, pictures, value=value, top=top, as_json=json_, up=up))
