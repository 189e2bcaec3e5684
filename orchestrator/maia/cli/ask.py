"""`maia ask`: its flags, and which unit a question is about. What it does is in `maia.cli.investigation`."""

from __future__ import annotations

import re
from typing import Annotated, Final

import typer

from maia.cli import flags
from maia.cli.errors import CommandError

# A layer's name holds a letter, so that neither "10:30" nor "16:9" is a unit; of those without one --units speaks.
_UNIT: Final = re.compile(
    r"(?<![\w.:/=])(?=[\w.\-]{0,200}[A-Za-z])(?P<layer>\w[\w.\-]{0,200})[:=](?P<index>[0-9]{1,9})(?![\w:=/]|[.,][0-9])"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ask)


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="One sentence that names a unit.")],
    *,
    model: flags.Model = None,
    units: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="The units, where the sentence names none or several: layer3=12,40.",
            rich_help_panel="Which units",
        ),
    ] = None,
    agent: flags.Agent = None,
    base_url: flags.BaseUrl = None,
    max_tokens: flags.MaxTokens = None,
    limit_field: flags.LimitField = None,
    context_tokens: flags.ContextTokens = None,
    describer: flags.Describer = None,
    describer_base_url: flags.DescriberBaseUrl = None,
    max_rounds: flags.MaxRounds = None,
    seed: flags.Seed = None,
    jobs: flags.Jobs = None,
    budget: flags.Budget = None,
    prices: flags.Prices = None,
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
    """Ask one question about a unit, and let an agent answer it by experiments.

    The sentence names the unit as layer:index, or `--units` does; with several units each is asked. The answer is
    printed, and how the agent came to it is in the report. The same question again is answered from there; `--fresh`
    asks anew. For example:

        maia ask --agent claude-… --model resnet152 "Does layer4:122 respond to ties or to collars?"

        maia ask --up --model scenes-cnn --units layer3=12,40 "Does it matter how large a thing is?"

    `maia run` is for what a unit responds to at all, and for other tasks.
    """
    given = dict(locals())
    from maia.cli.asynchronous import run_async  # help must not pay for what a run needs
    from maia.cli.command_line import CommandLine
    from maia.cli.config import load_config
    from maia.cli.investigation import Request, investigate
    from maia.cli.units import Wish

    apart = ("question", "model", "units", "fresh", "debug", "up")
    flags_given = {name: value for name, value in given.items() if name not in apart}
    if not question.strip():
        raise CommandError('the question is empty; for example "Does layer4:122 respond to ties or to collars?"')
    settings = load_config({**flags_given, "task": "question"})
    wish = Wish.of(model, "manual", units=units or named_unit(question), file=None, count=None)
    del given["question"]
    again = CommandLine("ask", given, (question,))
    request = Request(wishes=[wish], up=up, fresh=fresh, dialogue=debug, again=again, question=question)
    return run_async(investigate(settings, request))


def named_unit(question: str) -> str:
    """Return the one unit that a question names, as a unit list.

    Raises:
        CommandError: It names none, or several.
    """
    found = list(dict.fromkeys(f"{match['layer']}={int(match['index'])}" for match in _UNIT.finditer(question)))
    if not found:
        raise CommandError(
            "the question names no unit; write its layer and index, for example layer4:122, or give --units layer4=122"
        )
    if len(found) > 1:
        raise CommandError(
            f"the question names several units, {', '.join(found)}; say with --units which it is about, for example"
            f" --units {found[0]}"
        )
    return found[0]
