"""Renders the page of one unit: one file that needs nothing else and asks for nothing else.

Every value in the templates is escaped (and its invisible characters made visible) unless this package made it
markup. The page's own policy allows exactly its styles and its script, by their hashes, and pictures within the page:
text that slipped through would still not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from maia.orchestrator.answers import Form
from maia.orchestrator.events import BackboneReply, RunStarted, Why
from maia.orchestrator.journal import JournalReader
from maia.orchestrator.report.arguments import arguments
from maia.orchestrator.report.gallery import Gallery
from maia.orchestrator.report.highlighting import highlighted
from maia.orchestrator.report.plot import axis_of, scale, strip
from maia.orchestrator.report.prose import inline
from maia.orchestrator.report.results import UnitResult, run_started
from maia.orchestrator.report.story import Story, tell
from maia.orchestrator.report.visible import one_line, shorten, visible
from maia.orchestrator.tasks.task import DEFAULT

_OUTPUT: Final = 20_000
_REMINDERS: Final[dict[Why, str]] = {
    "no_code": "The reply had no code.",
    "empty_reply": "The reply was empty.",
    "cut_block": "A code block was never closed, so it was not run.",
    "format": "The conclusion was not in the asked form.",
    "final": "The rounds were used up: the agent was asked to conclude.",
}


_LABELS: Final[dict[Form | None, tuple[str, str]]] = {
    "labels": ("Label", "Labels"),
    "bias": ("Context of low scores", "Contexts of low scores"),
    "verdict": ("Verdict", "Verdict"),
    "text": ("", ""),  # has none
}
"""What the short phrases of an answer are, one and several of them."""


def unit_page(reader: JournalReader, gallery: Gallery, result: UnitResult) -> str:
    """Return the page of a unit as HTML.

    Args:
        reader: The unit's journal, finished or not.
        gallery: Its pictures.
        result: What became of it.
    """
    story = tell(reader.events, gallery)
    axis = axis_of(story.exemplars, (figure for round_ in story.rounds for figure in round_.measured))
    style, script = _source("unit.css"), _source("unit.js")
    pictures = Markup(gallery.css())  # noqa: S704  names of ours, media types of a fixed set, base64; nothing else
    page = _environment().get_template("unit.html.j2")
    return page.render(
        policy=_policy((style, pictures), (script,)),
        style=style,
        pictures=pictures,
        script=script,
        result=result,
        phrases=_LABELS.get(result.form, ("Label", "Labels"))[len(result.labels) > 1],
        run=run_started(reader),
        story=story,
        timeline=[round_ for round_ in story.rounds if round_.statements or round_.measured],
        axis=axis,
        facts=_facts(reader, result, story),
        gallery=gallery,
        prompt=_prompt(run_started(reader)),
    )


def index_page(rows: Sequence[tuple[UnitResult, str]], page: str) -> str:
    """Return the index as HTML.

    Args:
        rows: Results, each with its folder as a relative URL.
        page: Name of a unit's page in its folder.
    """
    judged = [result for result, _ in rows if result.matched is not None]
    style, script = _source("unit.css") + _source("index.css"), _source("index.js")
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            policy=_policy((style,), (script,), files=True),
            style=style,
            script=script,
            rows=rows,
            page=page,
            default_task=DEFAULT,
            paid=any(result.tokens for result, _ in rows),
            counts=dict(Counter(result.status for result, _ in rows).most_common()),
            judged=len(judged),
            matched=sum(result.matched is True for result in judged),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("maia.orchestrator.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        code=highlighted,
        inline=_inline,
        output=_output,
        arguments=arguments,
        seconds=_seconds,
        pretty=_pretty,
        line=one_line,
    )
    environment.globals.update(strip=strip, scale=scale, reminders=_REMINDERS)
    return environment


def _finalize(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _source(name: str) -> Markup:
    """Return a style sheet or script of ours, as it stands in the page."""
    loader = _environment().loader
    assert loader is not None
    return Markup(loader.get_source(_environment(), name)[0])  # noqa: S704  a file of this package


def _policy(styles: tuple[str, ...], scripts: tuple[str, ...], *, files: bool = False) -> str:
    """Return the Content-Security-Policy; `files` allows pictures beside the page too."""
    pictures = "data: 'self' file:" if files else "data:"
    style, script = (" ".join(_hash(text) for text in texts) for texts in (styles, scripts))
    return (
        f"default-src 'none'; img-src {pictures}; style-src {style}; script-src {script}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _facts(reader: JournalReader, result: UnitResult, story: Story) -> list[tuple[str, str]]:
    """Return the figures of the header by name."""
    usage = Counter(result.usage)
    models = dict.fromkeys(event.model for event in reader.events if isinstance(event, BackboneReply))
    read = sum(usage[kind] for kind in ("input", "cache_read", "cache_write"))
    tokens = f"{_count(read)} in ({_count(usage['cache_read'])} cached), {_count(usage['output'])} out" if read else ""
    run = run_started(reader)
    facts = [
        ("Task", run.task),
        ("Agent", f"{run.agent}: a fixed strategy, no language model" if run.agent == "scripted" else run.agent),
        ("Model that answered", ", ".join(model for model in models if model and model != run.agent)),
        ("Rounds", str(result.rounds)),
        ("Tool calls", str(result.tool_calls)),
        ("Measurements", str(sum(len(round_.measured) for round_ in story.rounds))),
        ("Time", _seconds(result.seconds)),
        ("Tokens", tokens),
        ("Cost", f"${result.usd:,.2f}" if read and result.usd is not None else ""),
        ("Seed", str(run.seed)),
        ("Started", _moment(run.started_at)),
    ]
    return [(name, value) for name, value in facts if value]


def _prompt(run: RunStarted) -> str:
    return shorten(run.system_prompt, _OUTPUT * 5, rest="in journal.jsonl")


def _inline(text: str) -> Markup:
    return inline(visible(text))


def _output(text: str) -> str:
    return shorten(text.rstrip("\n"), _OUTPUT, rest="in journal.jsonl")


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def _seconds(seconds: float) -> str:
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def _moment(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return text  # shown as the journal has it


def _count(number: int) -> str:
    return f"{number:,}" if number < 10_000 else f"{number / 1000:,.0f} k"
