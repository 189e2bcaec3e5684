"""What `maia measure` does: units on a person's own pictures, a table, and the masked views as files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from maia.cli.config import Config
from maia.cli.errors import DONE, CommandError
from maia.cli.exemplar_sets import build_sets
from maia.cli.folders import check_writable
from maia.cli.picture_files import naming, read_picture
from maia.cli.progress import Progress
from maia.cli.results import results_console
from maia.cli.servers import Deployment, connection, deployment
from maia.cli.units import check_units
from maia.orchestrator.clients import ExemplarsClient, Pooling, SubjectClient, SubjectInfo, Terms, Unit
from maia.orchestrator.events import UnitName
from maia.orchestrator.images import MaskRecipe
from maia.orchestrator.report.visible import visible
from maia.wire.errors import NotFoundError
from maia.wire.logs import configure_logs
from maia.wire.maps import darken
from maia.wire.pictures import Rgb, decode, encode_png

_NEEDED: Final = ("subject", "exemplars")
_ASK_S: Final = 30.0
_LOAD_S: Final = 1800.0
"""How long a subject that is loaded on demand may take, and be downloaded in."""
_MEASURE_S: Final = 300.0
_ORIGIN: Final = {"exemplars": "the exemplars", "map": "this picture"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One unit on one picture, and the file of its view."""

    source: Path
    recipe: MaskRecipe
    view: Path


async def measure_files(
    config: Config,
    model: str,
    units: Sequence[tuple[str, int]],
    files: Sequence[Path],
    out: Path,
    *,
    pooling: Pooling,
    up: bool,
) -> int:
    """Measure units on picture files, write the masked views and print a table.

    Args:
        config: Settings.
        model: Name of the subject.
        units: Layers and indices.
        files: PNG, JPEG or WebP.
        out: Folder of the views.
        pooling: How a map becomes the activation.
        up: Start servers for this command only.

    Returns:
        The exit code.

    Raises:
        CommandError: A file that is no picture, or a unit that the subject does not have.
    """
    files = list(dict.fromkeys(files))
    for file in files:
        read_picture(file)  # refused before anything starts; kept one at a time, since people have many photographs
    check_writable(out, "--out")
    with Progress(Console(stderr=True)) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        async with deployment(config, progress, up=up, subjects=[model], names=_NEEDED) as where:
            if up:
                await build_sets(config, where, [model], progress)
            progress.stage("measuring")
            rows = await _measure(where, model, units, files, out, pooling=pooling, progress=progress)
    show(results_console(), rows, out, pooling)
    return DONE


def parse_pooling(text: str) -> Pooling:
    """Return what `--pooling` says.

    Raises:
        CommandError: There is no such pooling.
    """
    try:
        return Pooling(text)
    except ValueError:
        raise CommandError(f"there is no --pooling {text!r:.50}; valid: {', '.join(Pooling)}") from None


def view_files(files: Sequence[Path], units: Sequence[tuple[str, int]], out: Path) -> dict[tuple[Path, str, int], Path]:
    """Return where the view of each picture and unit goes.

    No two are the same, and none is one of the pictures: `*.png` may well name the views of an earlier call.
    """
    taken = {file.resolve() for file in files}
    views = {}
    for layer, index in units:
        for file in files:
            stem = f"{file.stem}.{re.sub(r'[^A-Za-z0-9_.]+', '_', layer)}-{index}"
            view, number = out / f"{stem}.png", 2
            while view.resolve() in taken:
                view, number = out / f"{stem}-{number}.png", number + 1
            taken.add(view.resolve())
            views[file, layer, index] = view
    return views


async def _measure(
    where: Deployment,
    model: str,
    units: Sequence[tuple[str, int]],
    files: Sequence[Path],
    out: Path,
    *,
    pooling: Pooling,
    progress: Progress,
) -> list[Measured]:
    async with connection(where, "subject") as one, connection(where, "exemplars") as other:
        subject, exemplars = SubjectClient(one), ExemplarsClient(other)
        revision = (await checked(subject, model, units)).revision
        asked = [Unit(layer, index) for layer, index in units]
        thresholds = [await _threshold(exemplars, model, revision, unit) for unit in asked]
        views = view_files(files, units, out)
        rows: list[Measured] = []
        for number, file in enumerate(files, 1):
            picture = read_picture(file)
            with naming(file):
                pixels = decode(picture.data)
            # One picture a request: a request has a largest size, and people have large photographs.
            [answers] = await subject.measure(model, [picture], asked, Terms.within(_MEASURE_S), pooling=pooling)
            for unit, threshold, answer in zip(asked, thresholds, answers, strict=True):
                name = UnitName(model, unit.layer, unit.index)
                recipe = MaskRecipe.of(name, answer.activation, answer.map, answer.frame, threshold)
                view = views[file, unit.layer, unit.index]
                _write_view(pixels, recipe, view)
                rows.append(Measured(file, recipe, view))
            progress.step("measuring pictures", number, len(files))
        return rows


async def checked(subject: SubjectClient, model: str, units: Sequence[tuple[str, int]]) -> SubjectInfo:
    """Return a subject that has these units; it is loaded if need be.

    Raises:
        CommandError: It has not.
    """
    info = await subject.info(model, Terms.within(_LOAD_S))
    sizes = {layer.name: layer.units for layer in info.layers}
    for layer, index in units:
        check_units(model, {layer: [index]}, sizes)
    return info


async def _threshold(exemplars: ExemplarsClient, model: str, revision: str, unit: Unit) -> float | None:
    """The level of a unit's masks over the dataset; None where nobody has passed over one."""
    try:
        return await exemplars.threshold(model, revision, unit, Terms.within(_ASK_S))
    except NotFoundError:
        return None


def _write_view(pixels: Rgb, recipe: MaskRecipe, file: Path) -> None:
    height, width, _ = pixels.shape
    view = encode_png(darken(pixels, recipe.mask(width, height)))
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(view)
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise CommandError(f"the view {file} cannot be written: {error.strerror}; use another --out") from error


def show(console: Console, rows: Sequence[Measured], out: Path, pooling: Pooling) -> None:
    """Print one row per picture and unit."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("unit", no_wrap=True)
    table.add_column("activation" if pooling is Pooling.MAX else f"{pooling} activation", justify="right")
    table.add_column("threshold", justify="right")
    table.add_column("threshold from")
    table.add_column("view", overflow="fold")
    for row in rows:
        recipe = row.recipe
        table.add_row(
            Text(visible(str(row.source))),
            Text(f"{recipe.unit.layer}:{recipe.unit.index}"),
            Text(f"{recipe.activation:.3f}", style="bold"),
            Text(f"{recipe.threshold:.3f}"),
            Text(_ORIGIN[recipe.origin]),
            Text(visible(row.view.name)),
        )
    console.print(table)
    if any(row.recipe.origin == "map" for row in rows):
        console.print(
            "Thresholds from a picture itself (its 0.95 quantile) say where a unit responds most in it, not whether "
            f"that is much. For thresholds over a dataset: maia exemplars build --model {rows[0].recipe.unit.model}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(Text(f"Views: {out.resolve()}"), soft_wrap=True)
