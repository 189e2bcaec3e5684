"""What `maia subjects` shows: the subjects of a server, and the layers of one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maia.cli.config import Config
from maia.cli.errors import DONE
from maia.cli.progress import Progress
from maia.cli.results import results_console
from maia.cli.servers import connection, deployment
from maia.orchestrator.clients import SubjectClient, SubjectInfo, Terms
from maia.orchestrator.report.visible import one_line, visible
from maia.wire.logs import configure_logs

_ASK_S: Final = 30.0
_LOAD_S: Final = 1800.0
"""How long a subject that is loaded on demand may take, and be downloaded in."""

_CLASSES_SHOWN: Final = 3
_CLASS_CHARS: Final = 40


async def introduce(config: Config, name: str | None, *, as_json: bool, up: bool) -> int:
    """Print the subjects of a server, or the layers of one.

    Args:
        config: Settings.
        name: Of one, which is loaded if need be; None for all, of which only those in memory are described.
        as_json: Print lines of JSON instead of tables.
        up: Start a server for this command only.

    Returns:
        The exit code.

    Raises:
        NotFoundError: SUBJECT_UNKNOWN; the message names those that exist.
    """
    with Progress(Console(stderr=True)) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        subjects = [] if name is None else [name]
        async with deployment(config, progress, up=up, subjects=subjects, names=["subject"]) as where:
            progress.stage("asking the subject server")
            async with connection(where, "subject") as one:
                client = SubjectClient(one)
                if name is None:
                    found = await hosted(client, Terms.within(_ASK_S))
                else:
                    found = {name: await client.info(name, Terms.within(_LOAD_S))}
    if as_json:
        sys.stdout.writelines(f"{json.dumps(record(each, info))}\n" for each, info in found.items())
        return DONE
    console = results_console()
    for info in found.values():
        if name is not None and info is not None:
            show_layers(console, info)
    if name is None:
        show(console, found)
    return DONE


async def hosted(client: SubjectClient, terms: Terms) -> dict[str, SubjectInfo | None]:
    """Return the subjects of a server by name; None for one that is not in memory, since asking would load it."""
    loaded = frozenset(await client.loaded(terms))
    return {name: await client.info(name, terms) if name in loaded else None for name in await client.subjects(terms)}


def show(console: Console, subjects: Mapping[str, SubjectInfo | None]) -> None:
    """Print one row per subject."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("subject", overflow="fold")
    for title in ("layers", "classes", "precision", "revision"):
        table.add_column(title, justify="right" if title in ("layers", "classes") else "left", no_wrap=True)
    table.add_column("")
    for name, info in subjects.items():
        if info is None:
            rest = ["–", "–", "–", "–", "loaded when somebody asks for it"]
        else:
            rest = [f"{len(info.layers):,}", f"{len(info.classes):,}", info.precision, info.revision, info.title]
        table.add_row(Text(visible(name), "bold"), *(Text(visible(cell), "" if info else "dim") for cell in rest))
    console.print(table)


def show_layers(console: Console, info: SubjectInfo) -> None:
    """Print what a subject is, and one row per layer."""
    console.print(Text.assemble((visible(info.name), "bold"), f": {visible(info.title)}"), soft_wrap=True)
    console.print(
        Text(f"{info.precision}, input {info.input_size} × {info.input_size}, revision {info.revision}, {_told(info)}"),
        soft_wrap=True,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("units", justify="right", no_wrap=True)
    table.add_column("of kind", no_wrap=True)
    table.add_column("map", justify="right", no_wrap=True)
    for layer in info.layers:
        height, width = layer.map_size
        table.add_row(
            Text(visible(layer.name)), Text(f"{layer.units:,}"), Text(layer.kind.value), Text(f"{height} × {width}")
        )
    console.print(table)


def _told(info: SubjectInfo) -> str:
    """How many classes there are, and the first of them."""
    if not info.classes:
        return "no classes"
    count = len(info.classes)
    first = ", ".join(one_line(visible(name), _CLASS_CHARS) for name in info.classes[:_CLASSES_SHOWN])
    return f"{count:,} {'class' if count == 1 else 'classes'}: {first}{', …' if count > _CLASSES_SHOWN else ''}"


def record(name: str, info: SubjectInfo | None) -> dict[str, object]:
    """Return what is known of a subject as plain JSON."""
    if info is None:
        return {"subject": name, "loaded": False}
    return {
        "subject": name,
        "loaded": True,
        "title": info.title,
        "revision": info.revision,
        "precision": info.precision,
        "input_size": info.input_size,
        "layers": [
            {"layer": layer.name, "units": layer.units, "kind": layer.kind.value, "map": list(layer.map_size)}
            for layer in info.layers
        ],
        "classes": list(info.classes),
    }
