"""`maia exemplars`: its commands and their flags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maia.cli import exchange, flags

_PANEL = "The pass"
_NETWORK = "The network"
_CLUSTER = "A cluster"

Dataset = Annotated[
    str,
    typer.Option(
        metavar="WHERE",
        help="A folder of pictures (with folders of classes, if there are any), .tar files of WebDataset such as "
        "'shards-{000..007}.tar', a folder or .parquet files of a Hugging Face dataset, or scenes.",
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        "--size", "--dataset-size", metavar="N", help="Take only the first N pictures.", show_default="all; 2400 scenes"
    ),
]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="Of a Hugging Face dataset with several.")]
Column = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Of a Hugging Face dataset.", show_default="the first with pictures"),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The dataset pictures that drive each unit most.")
    group.command("build")(build)
    group.command("merge")(merge)
    group.command("list")(list_)
    exchange.register(group)
    group.callback()(_group)
    app.add_typer(group, name="exemplars")


def _group() -> None:
    """The dataset pictures that drive each unit most."""


def build(
    *,
    model: Annotated[
        str, typer.Option(metavar="NAME,…", help="Subjects, as `maia serve subject --model` takes them.")
    ] = "scene-neurons,scenes-cnn",
    layers: Annotated[
        str | None, typer.Option(metavar="NAME,…", help="Layers.", show_default="all whose units have maps")
    ] = None,
    dataset: Dataset = "scenes",
    size: Size = None,
    split: Split = None,
    column: Column = None,
    top: Annotated[
        int | None, typer.Option(metavar="N", help="Pictures to keep of each unit.", show_default="15")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(metavar="N", help="Random pictures to keep for all units.", show_default="500"),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Pictures that the network looks at together.", show_default="32", rich_help_panel=_PANEL
        ),
    ] = None,
    shards: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Cut the pass into N parts, for several machines.",
            show_default="1; on a cluster one for each GPU or machine",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    shard: Annotated[
        int | None,
        typer.Option(
            metavar="I", help="Do only part I, from 0; `maia exemplars merge` ends it.", rich_help_panel=_PANEL
        ),
    ] = None,
    anew: Annotated[
        bool,
        typer.Option("--anew", help="Do it again, whatever is stored of it.", rich_help_panel=_PANEL),
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="process|ray",
            help="Where it runs: here, or on a Ray cluster whose machines share the cache folder.",
            show_default="process",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of the cluster: HOST:PORT, ray://HOST:PORT, or auto for one that runs on this machine.",
            show_default="RAY_ADDRESS, else one of this machine alone",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    threads_per_task: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processors for each part.",
            show_default="the cluster's, divided by the parts",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="auto|cpu|cuda|cuda:N|mps", help="Where it runs.", rich_help_panel=_NETWORK),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="float32|bfloat16|float16", help="Of the pass.", rich_help_panel=_NETWORK)
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A state dict instead of the published weights.", rich_help_panel=_NETWORK),
    ] = None,
    directions: Annotated[
        str | None,
        typer.Option(metavar="FILE,…", help="Directions to measure as layers of their own.", rich_help_panel=_NETWORK),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Label files of the subject synthetic_neurons.", rich_help_panel=_NETWORK),
    ] = None,
    model_dir: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where weights are looked for, and kept.", rich_help_panel=_NETWORK),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Download nothing.", rich_help_panel=_NETWORK)] = False,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Find the exemplars of subjects: one pass over a dataset, all layers at once.

    What is stored already is left as it is, and a pass that was stopped, even by force, goes on where it stood. For
    example:

        maia exemplars build --model resnet152 --layers conv1,layer1,layer2,layer3,layer4 --dataset imagenet/val

        maia exemplars build --model resnet152 --dataset imagenet/val --shards 4 --shard 0     (1, 2 and 3 elsewhere)

        maia exemplars build --model resnet152 --dataset imagenet/val --engine ray --ray-address head:6379
    """
    from maia.cli.asynchronous import run_async  # help must not pay for what building needs
    from maia.cli.building import build_exemplars
    from maia.cli.config import load_config

    settings = load_config({"config": config, "cache_dir": cache_dir})
    asked = {
        "dataset": dataset,
        "size": size if size is not None else (settings.dataset_size if dataset == "scenes" else None),
        "split": split,
        "column": column,
        "layers": layers,
        "top": top,
        "samples": samples,
        "batch": batch,
        "shards": shards,
        "shard": shard,
        "anew": True if anew else None,
        "engine": engine,
        "ray-address": ray_address,
        "threads-per-task": threads_per_task,
        "device": device,
        "precision": precision,
        "weights": weights,
        "directions": directions,
        "labels": labels,
        "model-dir": model_dir,
        "offline": True if offline else None,
        "config": settings.config_file,
    }
    subjects = [name.strip() for name in model.split(",") if name.strip()]
    return run_async(build_exemplars(settings, subjects, asked))


def merge(
    *,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The subject.", show_default="that whose parts are there")
    ] = None,
    dataset: Dataset = "scenes",
    size: Size = None,
    split: Split = None,
    column: Column = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Put the parts of a pass together, as if one process had made it.

    The parts are in `exemplars/passes` of the cache folder; copy those of other machines there. No model is loaded. For
    example:

        maia exemplars merge --dataset imagenet/val
    """
    from maia.cli.asynchronous import run_async
    from maia.cli.building import merge_exemplars
    from maia.cli.config import load_config

    settings = load_config({"config": config, "cache_dir": cache_dir})
    size = size if size is not None else (settings.dataset_size if dataset == "scenes" else None)
    asked = {"model": model, "dataset": dataset, "size": size, "split": split, "column": column}
    return run_async(merge_exemplars(settings, asked))


def list_(*, config: flags.ConfigFile = None, cache_dir: flags.CacheDir = None) -> int:
    """Show which exemplars are stored."""
    from maia.cli.building import list_sets
    from maia.cli.config import load_config

    return list_sets(load_config({"config": config, "cache_dir": cache_dir}))
