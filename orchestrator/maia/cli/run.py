"""`maia run`: its flags. What it does is in `maia.cli.investigation`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maia.cli import flags

_UNITS = "Which units"
_AGENT = "The agent"

_APART = (
    "model",
    "units",
    "unit_mode",
    "unit_file_path",
    "num_of_units",
    "total_chunks",
    "chunk_id",
    "fresh",
    "debug",
    "up",
)
"""Flags that are no settings."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    *,
    model: flags.Model = None,
    units: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="layer3=12,40:layer4=7 or layer3=12-15; layers alone for the other modes.",
            rich_help_panel=_UNITS,
        ),
    ] = None,
    unit_mode: Annotated[
        str | None,
        typer.Option(
            metavar="manual|from_file|random",
            help="Units from the list, from a file, or drawn by --seed.",
            show_default="manual",
            rich_help_panel=_UNITS,
        ),
    ] = None,
    unit_file_path: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help='A JSON file {"layer3": [12, 40]}, or a folder with MODEL.json.',
            rich_help_panel=_UNITS,
        ),
    ] = None,
    num_of_units: Annotated[
        int | None, typer.Option(metavar="N", help="How many to draw of each layer.", rich_help_panel=_UNITS)
    ] = None,
    total_chunks: Annotated[
        int | None,
        typer.Option(metavar="N", help="Divide the units among N commands.", rich_help_panel=_UNITS),
    ] = None,
    chunk_id: Annotated[
        int | None,
        typer.Option(metavar="I", help="Which part this one takes, from 0.", rich_help_panel=_UNITS),
    ] = None,
    agent: flags.Agent = None,
    base_url: flags.BaseUrl = None,
    max_tokens: flags.MaxTokens = None,
    limit_field: flags.LimitField = None,
    context_tokens: flags.ContextTokens = None,
    describer: flags.Describer = None,
    describer_base_url: flags.DescriberBaseUrl = None,
    budget: flags.Budget = None,
    batch_budget: flags.BatchBudget = None,
    prices: flags.Prices = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is asked: neuron_description, class_bias or spurious_feature.",
            show_default="neuron_description",
            rich_help_panel=_AGENT,
        ),
    ] = None,
    task_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A task of your own, in TOML; docs/tasks.md says how.", rich_help_panel=_AGENT
        ),
    ] = None,
    max_rounds: flags.MaxRounds = None,
    seed: flags.Seed = None,
    jobs: flags.Jobs = None,
    engine: flags.Engine = None,
    ray_address: flags.RayAddress = None,
    journal_store: flags.JournalStore = None,
    otlp_endpoint: flags.OtlpEndpoint = None,
    out: flags.Out = None,
    fresh: flags.Fresh = False,
    debug: flags.Debug = False,
    up: flags.Up = False,
    subject_address: flags.SubjectAddress = None,
    generation_address: flags.GenerationAddress = None,
    editing_address: flags.EditingAddress = None,
    exemplars_address: flags.ExemplarsAddress = None,
    description_address: flags.DescriptionAddress = None,
    policy: flags.Policy = None,
    sandbox_tier: flags.SandboxTier = None,
    sandbox_address: flags.SandboxAddress = None,
    allow_unisolated: flags.AllowUnisolated = None,
    wall_s: flags.WallSeconds = None,
    cpu_s: flags.CpuSeconds = None,
    memory_mb: flags.MemoryMb = None,
    output_bytes: flags.OutputBytes = None,
    dataset_size: flags.DatasetSize = None,
    exemplars_store: flags.ExemplarsStore = None,
    tls_ca: flags.TlsCa = None,
    tls_cert: flags.TlsCert = None,
    tls_key: flags.TlsKey = None,
    token_file: flags.TokenFile = None,
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Let an agent investigate units, and write a report.

    It needs the tool servers: those that `maia up` starts, or its own with `--up`. Units that are finished under
    `--out` are left as they are, others go on where they were. Ctrl-C lets running units finish their round and pauses;
    twice, it stops at once. For example:

        maia run --up --model scene-neurons --units mono=23:or=3

        maia run --agent claude-… --model scenes-cnn --unit-mode random --num-of-units 2

        maia run --agent claude-… --model resnet152 --units logits=207 --task class_bias
    """
    given = dict(locals())
    from maia.cli.asynchronous import run_async  # help must not pay for what a run needs
    from maia.cli.chunks import Chunk
    from maia.cli.command_line import CommandLine
    from maia.cli.config import load_config
    from maia.wire.ray_cluster import before_grpc

    settings = load_config({name: value for name, value in given.items() if name not in _APART})
    if settings.engine == "ray":
        before_grpc()
    from maia.cli.investigation import Request, investigate
    from maia.cli.units import Wish

    request = Request(
        wishes=[Wish.of(model, unit_mode, units=units, file=unit_file_path, count=num_of_units)],
        chunk=Chunk.of(total_chunks, chunk_id),
        up=up,
        fresh=fresh,
        dialogue=debug,
        again=CommandLine("run", given),
    )
    return run_async(investigate(settings, request))
