"""`maia exemplars import`, `export`, `fetch` and `show`: their flags. A program of its own does the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from maia.cli import flags

Layers = Annotated[str | None, typer.Option(metavar="NAME,…", help="Layers.", show_default="all")]
Dataset = Annotated[str | None, typer.Option(metavar="NAME", help="Of several, which.", show_default="the newest")]
NewDataset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of several, which; of one, what to call it.", show_default="its folder"),
]
NewModel = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of several, which; of one, what to call it.", show_default="its folder"),
]
Model = Annotated[str, typer.Option(metavar="NAME", help="The subject.")]
Units = Annotated[int | None, typer.Option(metavar="N", help="Of the layer, if more than its units.npy tells.")]
WithoutIds = Annotated[bool, typer.Option("--without-ids", help="Number the pictures anew.")]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("import")(import_)
    group.command("export")(export)
    group.command("fetch")(fetch)
    group.command("show")(show)


def import_(
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Of a layer, dataset or model, or above all models.")],
    model: NewModel = None,
    dataset: NewDataset = None,
    layers: Layers = None,
    units: Units = None,
    without_ids: WithoutIds = False,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> NoReturn:
    """Take MAIA's or MILAN's files into the store.

    For example:

        maia exemplars import exemplars/dino --model dino_vits8
    """
    asked = {"model": model, "dataset": dataset, "layers": layers, "units": units, "without-ids": without_ids}
    _run(config, cache_dir, "import", [str(folder)], asked)


def export(
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where <model>/<dataset>/<layer> is made.")],
    model: Model,
    dataset: Dataset = None,
    layers: Layers = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> NoReturn:
    """Write exemplars as MAIA's and MILAN's files.

    For example:

        maia exemplars export exemplars/ --model scenes-cnn --layers layer3,layer4
    """
    _run(config, cache_dir, "export", [str(folder)], {"model": model, "dataset": dataset, "layers": layers})


def fetch(
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]…", help="resnet152, clip-RN50, dino, synthetic_neurons.", show_default="all"),
    ] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Where the zip files are.")] = None,
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="Checksum of the one that is named.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the zip in the store's folder downloads.")] = False,
    model: NewModel = None,
    dataset: NewDataset = None,
    layers: Layers = None,
    units: Units = None,
    without_ids: WithoutIds = False,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> NoReturn:
    """Download and import the sets that MAIA's authors published; goes on where it was cut off.

    For example:

        maia exemplars fetch resnet152
    """
    asked: dict[str, object] = {"base-url": base_url, "sha256": sha256, "keep": keep, "model": model}
    asked |= {"dataset": dataset, "layers": layers, "units": units, "without-ids": without_ids}
    _run(config, cache_dir, "fetch", names or [], asked)


def show(
    *,
    model: Model,
    unit: Annotated[str, typer.Option(metavar="LAYER:INDEX", help="Such as layer4:122.")],
    dataset: Dataset = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A .png or .html.", show_default="<model>-<layer>-<index>.png"),
    ] = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> NoReturn:
    """Make a contact sheet of a unit: its pictures, masked and whole, and how its values are distributed.

    For example:

        maia exemplars show --model scenes-cnn --unit layer3:5 --out unit.html
    """
    _run(config, cache_dir, "show", [], {"model": model, "unit": unit, "dataset": dataset, "out": out})


def _run(
    config: Path | None, cache_dir: Path | None, command: str, arguments: list[str], asked: Mapping[str, object]
) -> NoReturn:
    from maia.cli.config import environment_without_keys, load_config  # help must not pay for them
    from maia.cli.servers import exemplar_store

    settings = load_config({"config": config, "cache_dir": cache_dir})
    flags = ["--store", str(exemplar_store(settings))]
    for name, value in asked.items():
        if value is True:
            flags.append(f"--{name}")
        elif value is not None and value is not False:  # 0 is a value
            flags.append(f"--{name}={value}")  # which may begin with "-"
    program = [sys.executable, "-m", "maia.services.interchange", command, *arguments, *flags]
    # It takes this process's place: signals and exit code need no relay.
    os.execve(sys.executable, program, environment_without_keys())  # noqa: S606  our own
