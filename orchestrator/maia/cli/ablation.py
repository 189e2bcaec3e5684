"""What `maia ablate` does: holds units while a classifier looks at a person's own pictures."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maia.cli.config import Config
from maia.cli.errors import DONE, CommandError
from maia.cli.measurement import checked
from maia.cli.picture_files import naming, read_picture
from maia.cli.progress import Progress
from maia.cli.results import results_console
from maia.cli.servers import Deployment, connection, deployment
from maia.orchestrator.clients import Effect, Pooling, SubjectClient, Terms, Unit
from maia.orchestrator.report.visible import one_line, visible
from maia.wire.logs import configure_logs

_ASK_S: Final = 300.0
_MOST: Final = float(np.finfo(np.float32).max)
_CLASS_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Change:
    """One class: its index and name, and its probability with the unit as it is and with the unit held."""

    index: int
    name: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Ablated:
    """One unit held on one picture.

    Attributes:
        source: The picture's file.
        unit: Which one.
        value: What it was held at.
        precision: Of the forward pass.
        changes: Of the classes that changed most, that first.
    """

    source: Path
    unit: Unit
    value: float
    precision: str
    changes: tuple[Change, ...]


def parse_hold(text: str) -> float | None:
    """Return what `--hold` says, None for a unit's own mean.

    Raises:
        CommandError: It is neither a number of float32 nor "mean".
    """
    if text.strip() == "mean":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _MOST:
        raise CommandError(f"--hold {text!r:.50} is nothing to hold a unit at; give a number, for example 0, or mean")
    return value


async def ablate_files(
    config: Config,
    model: str,
    units: Sequence[tuple[str, int]],
    files: Sequence[Path],
    *,
    value: float | None,
    top: int,
    as_json: bool,
    up: bool,
) -> int:
    """Hold units while a classifier looks at picture files, and print what changes.

    Args:
        config: Settings.
        model: Name of the subject.
        units: Layers and indices, held one at a time.
        files: PNG, JPEG or WebP.
        value: What a unit is held at; None for its own mean over all places of all pictures.
        top: Most classes of a picture.
        as_json: Print lines of JSON instead of a table.
        up: Start a server for this command only.

    Returns:
        The exit code.

    Raises:
        CommandError: A file that is no picture, a unit that the subject does not have, or a subject without classes.
    """
    files = list(dict.fromkeys(files))
    for file in files:
        read_picture(file)  # refused before anything starts; kept one at a time, since people have many photographs
    with Progress(Console(stderr=True)) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        async with deployment(config, progress, up=up, subjects=[model], names=["subject"]) as where:
            progress.stage("loading the subject")
            rows = await _ablate(where, model, units, files, value=value, top=top, progress=progress)
    if as_json:
        sys.stdout.writelines(f"{json.dumps(record(row))}\n" for row in rows)
    else:
        show(results_console(), rows)
    return DONE


def strongest(effect: Effect, classes: Sequence[str], top: int) -> tuple[Change, ...]:
    """Return the classes whose probability changes most; of those that change alike, the more probable first."""
    before, after = effect.before.astype(np.float64), effect.after.astype(np.float64)
    order = np.lexsort((-before, -abs(after - before)))[:top]
    return tuple(Change(int(index), classes[index], float(before[index]), float(after[index])) for index in order)


async def _ablate(
    where: Deployment,
    model: str,
    units: Sequence[tuple[str, int]],
    files: Sequence[Path],
    *,
    value: float | None,
    top: int,
    progress: Progress,
) -> list[Ablated]:
    async with connection(where, "subject") as one:
        subject = SubjectClient(one)
        info = await checked(subject, model, units)
        if not info.classes:
            raise CommandError(f"{model} tells no classes apart, so that an ablation would show nothing")
        asked = [Unit(layer, index) for layer, index in units]
        held = [value] * len(asked) if value is not None else await _means(subject, model, asked, files, progress)
        rows: list[Ablated] = []
        for number, file in enumerate(files, 1):
            picture = read_picture(file)
            # One picture a request: a request has a largest size, and people have large photographs.
            for unit, at in zip(asked, held, strict=True):
                with naming(file):
                    found = await subject.ablate(model, [picture], unit, at, Terms.within(_ASK_S))
                [effect] = found.effects
                one.expect(effect.before, len(info.classes))
                changes = strongest(effect, info.classes, top)
                rows.append(Ablated(file, unit, found.value, found.precision, changes))
            progress.step("ablating on pictures", number, len(files))
        return rows


async def _means(
    subject: SubjectClient, model: str, units: Sequence[Unit], files: Sequence[Path], progress: Progress
) -> list[float]:
    """The mean of each unit over all places of all pictures, which may be more than fit into a request."""
    sums = np.zeros(len(units))
    for number, file in enumerate(files, 1):
        with naming(file):
            [answers] = await subject.measure(
                model, [read_picture(file)], units, Terms.within(_ASK_S), pooling=Pooling.MEAN
            )
        sums += [answer.activation for answer in answers]
        progress.step("measuring means on pictures", number, len(files))
    return [float(mean) for mean in sums / len(files)]


def show(console: Console, rows: Sequence[Ablated]) -> None:
    """Print a table: a picture and a unit at their first class only."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("unit", overflow="fold")
    table.add_column("held at", justify="right")
    table.add_column("class", overflow="fold")
    for title in ("before", "after", "change"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        named = [visible(str(row.source)), f"{row.unit.layer}:{row.unit.index}", f"{row.value:.4g}"]
        for change in row.changes:
            table.add_row(
                *map(Text, named),
                Text(one_line(visible(change.name), _CLASS_CHARS)),
                Text(f"{change.before:.4f}"),
                Text(f"{change.after:.4f}"),
                Text(f"{change.after - change.before:+.4f}", style="bold"),
            )
            named = [""] * 3
    console.print(table)


def record(row: Ablated) -> dict[str, object]:
    """Return it as plain JSON."""
    return {
        "picture": str(row.source),
        "unit": {"layer": row.unit.layer, "index": row.unit.index},
        "held_at": row.value,
        "precision": row.precision,
        "classes": [
            {
                "index": change.index,
                "class": change.name,
                "before": _finite(change.before),
                "after": _finite(change.after),
            }
            for change in row.changes
        ],
    }


def _finite(number: float) -> float | None:
    """The number; None where a pass in few bits ran over, which JSON has no number for."""
    return number if math.isfinite(number) else None
