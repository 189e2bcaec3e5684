"""`maia run`: its flags. What it does is in `maia.cli.investigation`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maia.cli import flags

_UNITS = "Which units"
_AGENT = "The agent"
_RESULTS = "Results"
_BUDGET = "What it may cost"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    *,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The subject, for example scenes-cnn.", rich_help_panel=_UNITS)
    ] = None,
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
    agent: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Who writes the experiments: scripted, claude-…, gpt-…, anthropic:NAME, openai:NAME, "
            "compatible:NAME (or local-NAME) or replay:FOLDER.",
            show_default="scripted",
            rich_help_panel=_AGENT,
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where a compatible server answers.", rich_help_panel=_AGENT),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Longest reply.", show_default="16000", rich_help_panel=_AGENT),
    ] = None,
    limit_field: Annotated[
        str | None,
        typer.Option(
            metavar="max_completion_tokens|max_tokens",
            help="How a compatible server calls that limit.",
            show_default="max_completion_tokens",
            rich_help_panel=_AGENT,
        ),
    ] = None,
    context_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How much conversation and reply together the model takes. Before that is reached, old pictures give "
            "way to a line that names them.",
            show_default="what is known of the model",
            rich_help_panel=_AGENT,
        ),
    ] = None,
    describer: Annotated[
        str | None,
        typer.Option(
            metavar="agent|server|NAME",
            help="What describes and summarises pictures for the agent's code: the agent's own model, the description "
            "server (always for scripted and replay), or another model, named as for --agent.",
            show_default="agent",
            rich_help_panel=_AGENT,
        ),
    ] = None,
    describer_base_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where a compatible server answers that describes.",
            show_default="--base-url, if both are of one kind",
            rich_help_panel=_AGENT,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Of each unit, any of tokens=500000,usd=2,calls=200,pictures=300,minutes=30. At 80 % of one the agent "
            "is told, at 100 % it is asked to conclude.",
            show_default="no limit",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    batch_budget: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Of all units together, in the same form, what earlier runs of them have spent included. At 100 % no "
            "further unit starts and the others are asked to conclude.",
            show_default="no limit",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="TOML file with prices and limits of models, for those that are not known or have changed, in US "
            'dollars per million tokens: model = [{models = ["compatible:NAME"], price = {input = 1, output = 4, '
            "cache_read = 1, cache_write = 1}}].",
            rich_help_panel=_BUDGET,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What is asked.", show_default="neuron_description", rich_help_panel=_AGENT),
    ] = None,
    max_rounds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Replies whose code is run.", show_default="25", rich_help_panel=_AGENT),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Of pictures and of random units.", show_default="0", rich_help_panel=_AGENT),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "--path2save",
            metavar="FOLDER",
            help="Where they go.",
            show_default="results",
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Investigate finished units again; what was there is kept in FOLDER/.replaced.",
            rich_help_panel=_RESULTS,
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Print the dialogue between agent and experiments.", rich_help_panel=_RESULTS),
    ] = False,
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
    config: flags.ConfigFile = None,
    cache_dir: flags.CacheDir = None,
) -> int:
    """Let an agent investigate units, and write a report.

    It needs the tool servers: those that `maia up` starts, or its own with `--up`. Units that are finished under
    `--out` are left as they are. For example:

        maia run --up --model scene-neurons --units mono=23:or=3

        maia run --agent claude-… --model scenes-cnn --unit-mode random --num-of-units 2
    """
    given = dict(locals())
    from maia.cli.asynchronous import run_async  # help must not pay for what a run needs
    from maia.cli.config import load_config
    from maia.cli.investigation import investigate
    from maia.cli.units import Wish

    apart = ("model", "units", "unit_mode", "unit_file_path", "num_of_units", "fresh", "debug", "up")
    settings = load_config({name: value for name, value in given.items() if name not in apart})
    wish = Wish.of(model, unit_mode, units=units, file=unit_file_path, count=num_of_units)
    return run_async(investigate(settings, [wish], up=up, fresh=fresh, dialogue=debug))
