"""`maia exemplars build`: its flags."""

from __future__ import annotations

from typing import Annotated

import typer

from maia.cli import flags


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The dataset pictures that drive each unit most.")
    group.command("build")(build)
    group.callback()(_group)
    app.add_typer(group, name="exemplars")


def _group() -> None:
    """The dataset pictures that drive each unit most."""


def build(
    *,
    model: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Subjects.", show_default="all of the server")
    ] = None,
    up: flags.Up = False,
    subject_address: flags.SubjectAddress = None,
    dataset_size: flags.DatasetSize = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Find the exemplars of subjects, by running them over the dataset.

    What is stored already is left as it is. For example:

        maia exemplars build --up --model scenes-cnn
    """
    from maia.cli.asynchronous import run_async  # help must not pay for what building needs
    from maia.cli.building import build_exemplars
    from maia.cli.config import load_config

    given = {"dataset_size": dataset_size, "subject_address": subject_address}
    settings = load_config({**given, "config": config, "cache_dir": cache_dir})
    subjects = [name.strip() for name in (model or "").split(",") if name.strip()]
    return run_async(build_exemplars(settings, subjects, up=up))
