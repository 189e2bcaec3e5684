"""Flags that several commands share, with one name, one help text and one place in the settings each.

Every flag defaults to None: what was not given on the command line comes from the environment, the file or the code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SETTINGS = "Settings"
_BUDGET = "What it may cost"
_SERVERS = "Servers"
_BUDGET = "What it may cost"
_LIMITS = "Limits of a code block"
_SANDBOX = "The sandbox"
_UNITS = "Which units"
_AGENT = "The agent"
_RESULTS = "Results"
_WHERE = "Where units run"

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="TOML file with settings.", show_default="maia.toml", rich_help_panel=_SETTINGS
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where exemplars and other things that can be made again are kept.",
        show_default="~/.cache/maia",
        rich_help_panel=_SETTINGS,
    ),
]
DatasetSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Pictures to look for exemplars in; fewer are quicker and worse.",
        show_default="2400",
        rich_help_panel=_SETTINGS,
    ),
]
ExemplarsStore = Annotated[
    Path | None,
    typer.Option(
        "--exemplars-store",
        "--path2exemplars",
        metavar="FOLDER",
        help="Where exemplars are kept that servers started by this command read.",
        show_default="exemplars in --cache-dir",
        rich_help_panel=_SETTINGS,
    ),
]
Up = Annotated[
    bool,
    typer.Option("--up", help="Start servers for this command only, and end them with it.", rich_help_panel=_SERVERS),
]


def _server(name: str, port: int) -> object:
    return typer.Option(
        f"--{name}-address",
        metavar="ADDRESS",
        help=f"Of the {name} server: host:port, dns:///name:port or unix:/path; replicas with commas.",
        show_default=f"127.0.0.1:{port}",
        rich_help_panel=_SERVERS,
    )


SubjectAddress = Annotated[str | None, _server("subject", 7411)]
GenerationAddress = Annotated[str | None, _server("generation", 7412)]
EditingAddress = Annotated[str | None, _server("editing", 7413)]
ExemplarsAddress = Annotated[str | None, _server("exemplars", 7414)]
DescriptionAddress = Annotated[str | None, _server("description", 7415)]


def _wire(help_text: str) -> object:
    return typer.Option(metavar="FILE", help=help_text, rich_help_panel=_SERVERS)


TlsCa = Annotated[Path | None, _wire("The CA that signed the servers' certificates, PEM; with the next two.")]
TlsCert = Annotated[Path | None, _wire("Our own certificate, PEM; `maia certs` makes all three.")]
TlsKey = Annotated[Path | None, _wire("Its private key, PEM.")]
TokenFile = Annotated[Path | None, _wire("File that holds our token, instead of MAIA_TOKEN.")]

Policy = Annotated[
    str | None,
    typer.Option(
        metavar="restricted|off",
        help="Language rules, which refuse early and readably what the isolation would stop.",
        show_default="restricted",
        rich_help_panel=_SANDBOX,
    ),
]


def _tier(*names: str) -> object:
    return typer.Option(
        *names,
        metavar="auto|jail|gvisor|docker|landlock|none",
        help="How code is isolated; `maia sandbox tiers` says what works here.",
        show_default="auto",
        rich_help_panel=_SANDBOX,
    )


def _sandbox_address(*names: str) -> object:
    return typer.Option(
        *names,
        metavar="ADDRESS",
        help="Run code at a sandbox host (`maia serve sandbox`): host:port or unix:/path; hosts with commas.",
        show_default="on this machine",
        rich_help_panel=_SANDBOX,
    )


# Where a command is about the sandbox alone, both may go without its name.
SandboxTier = Annotated[str | None, _tier("--sandbox-tier")]
SandboxAddress = Annotated[str | None, _sandbox_address("--sandbox-address")]
Tier = Annotated[str | None, _tier("--tier", "--sandbox-tier")]
TierAddress = Annotated[str | None, _sandbox_address("--address", "--sandbox-address")]
AllowUnisolated = Annotated[
    bool | None,
    typer.Option(
        "--allow-unisolated",
        help="Allow the tier none, which isolates nothing, for debugging.",
        rich_help_panel=_SANDBOX,
        show_default=False,
    ),
]
WallSeconds = Annotated[
    float | None,
    typer.Option(
        "--wall-s", metavar="SECONDS", help="Time without tool calls.", show_default="60", rich_help_panel=_LIMITS
    ),
]
CpuSeconds = Annotated[
    float | None,
    typer.Option("--cpu-s", metavar="SECONDS", help="CPU time.", show_default="60", rich_help_panel=_LIMITS),
]
MemoryMb = Annotated[
    int | None, typer.Option("--memory-mb", metavar="MIB", help="Memory.", show_default="1024", rich_help_panel=_LIMITS)
]
OutputBytes = Annotated[
    int | None,
    typer.Option(
        "--output-bytes", metavar="BYTES", help="Printed text.", show_default="262144", rich_help_panel=_LIMITS
    ),
]

# What `maia run` and `maia ask` share.
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="The subject, for example scenes-cnn.", rich_help_panel=_UNITS)
]
Agent = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Who writes the experiments: scripted, claude-…, gpt-…, anthropic:NAME, openai:NAME, "
        "compatible:NAME (or local-NAME) or replay:FOLDER.",
        show_default="scripted",
        rich_help_panel=_AGENT,
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where a compatible server answers.", rich_help_panel=_AGENT),
]
MaxTokens = Annotated[
    int | None,
    typer.Option(metavar="N", help="Longest reply.", show_default="16000", rich_help_panel=_AGENT),
]
LimitField = Annotated[
    str | None,
    typer.Option(
        metavar="max_completion_tokens|max_tokens",
        help="How a compatible server calls that limit.",
        show_default="max_completion_tokens",
        rich_help_panel=_AGENT,
    ),
]
ContextTokens = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="How much conversation and reply together the model takes. Before that is reached, old pictures give "
        "way to a line that names them.",
        show_default="what is known of the model",
        rich_help_panel=_AGENT,
    ),
]
Describer = Annotated[
    str | None,
    typer.Option(
        metavar="agent|server|NAME",
        help="What describes and summarises pictures for the agent's code: the agent's own model, the description "
        "server (always for scripted and replay), or another model, named as for --agent.",
        show_default="agent",
        rich_help_panel=_AGENT,
    ),
]
DescriberBaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where a compatible server answers that describes.",
        show_default="--base-url, if both are of one kind",
        rich_help_panel=_AGENT,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Of each unit, any of tokens=500000,usd=2,calls=200,pictures=300,minutes=30. At 80 % of one the agent "
        "is told, at 100 % it is asked to conclude.",
        show_default="no limit",
        rich_help_panel=_BUDGET,
    ),
]
BatchBudget = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Of all units together, in the same form, what earlier runs of them have spent included. At 100 % no "
        "further unit starts and the others are asked to conclude.",
        show_default="no limit",
        rich_help_panel=_BUDGET,
    ),
]
Prices = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="TOML file with prices and limits of models, for those that are not known or have changed, in US "
        'dollars per million tokens: model = [{models = ["compatible:NAME"], price = {input = 1, output = 4, '
        "cache_read = 1, cache_write = 1}}].",
        rich_help_panel=_BUDGET,
    ),
]
MaxRounds = Annotated[
    int | None,
    typer.Option(metavar="N", help="Replies whose code is run.", show_default="25", rich_help_panel=_AGENT),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", help="Of pictures and of random units.", show_default="0", rich_help_panel=_AGENT),
]
Jobs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Units at once.", show_default="4", rich_help_panel=_AGENT),
]
Engine = Annotated[
    str | None,
    typer.Option(
        metavar="local|ray",
        help="Where units are investigated: in this process, or as tasks of a Ray cluster (docs/batches.md).",
        show_default="local",
        rich_help_panel=_WHERE,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Of the cluster: HOST:PORT, ray://HOST:PORT, or auto for one that runs on this machine.",
        show_default="RAY_ADDRESS, else one of this machine alone",
        rich_help_panel=_WHERE,
    ),
]
OtlpEndpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Send traces there, OTLP over HTTP: http://127.0.0.1:4318. Servers of --up do the same.",
        rich_help_panel=_RESULTS,
    ),
]
JournalStore = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Copy journals after every round to s3://…, gs://… or another address of fsspec, and go on from there.",
        rich_help_panel=_RESULTS,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "--path2save",
        metavar="FOLDER",
        help="Where they go.",
        show_default="results",
        rich_help_panel=_RESULTS,
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Investigate finished units again; what was there is kept in FOLDER/.replaced.",
        rich_help_panel=_RESULTS,
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Print the dialogue between agent and experiments.", rich_help_panel=_RESULTS),
]
