"""What `maia measure` does: units on a person's own pictures, a table, and the masked views as files."""

from __future__ import annotations

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
from maia.cli.progress import Progress
from maia.cli.results import results_console
from maia.cli.servers import Deployment, connection, deployment
from maia.cli.units import check_units
from maia.orchestrator.clients import ExemplarsClient, SubjectClient, Terms, Unit
from maia.orchestrator.conversation import Picture
from maia.orchestrator.events import UnitName
from maia.orchestrator.images import MaskRecipe
from maia.orchestrator.report.visible import visible
from maia.wire.errors import InvalidRequestError, NotFoundError
from maia.wire.limits import MAX_PICTURE_BYTES
from maia.wire.logs import configure_logs
from maia.wire.maps import darken
from maia.wire.pictures import decode, encode_png, read_header

_NEEDED: Final = ("subject", "exemplars")
_ASK_S: Final = 30.0
_MEASURE_S: Final = 300.0
_ORIGIN: Final = {"exemplars": "the exemplars", "map": "this picture"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One unit on one picture, and the file of its view."""

    source: Path
    recipe: MaskRecipe
    view: Path


async def measure_files(
    config: Config, model: str, units: Sequence[tuple[str, int]], files: Sequence[Path], out: Path, *, up: bool
) -> int:
    """Measure units on picture files, write the masked views and print a table.

    Args:
        config: Settings.
        model: Name of the subject.
        units: Layers and indices.
        files: PNG, JPEG or WebP.
        out: Folder of the views.
        up: Start servers for this command only.

    Returns:
        The exit code.

    Raises:
        CommandError: A file that is no picture, or a unit that the subject does not have.
    """
    pictures = [(file, read_picture(file)) for file in dict.fromkeys(files)]
    with Progress(Console(stderr=True)) as progress:
        configure_logs(level="warning")  # after the view has begun, which shows them above itself
        async with deployment(config, progress, up=up, subjects=[model], names=_NEEDED) as where:
            if up:
                await build_sets(config, where, [model], progress)
            progress.stage("measuring")
            rows = await _measure(where, model, units, pictures, out)
    show(results_console(), rows, out)
    return DONE


def read_picture(file: Path) -> Picture:
    """Read a picture file.

    Raises:
        CommandError: There is no such file, or it is no picture that can be measured.
    """
    try:
        if file.stat().st_size > MAX_PICTURE_BYTES:
            raise CommandError(f"{file} is too large; at most {MAX_PICTURE_BYTES // 2**20} MiB are measured")
        data = file.read_bytes()
    except OSError as error:
        raise CommandError(f"the picture {file} cannot be read: {error.strerror}") from error
    try:
        header = read_header(data)
    except InvalidRequestError as error:
        raise CommandError(f"{file} is no picture to measure: {error.message.partition(': ')[2]}") from error
    return Picture(data, header.media_type, header.width, header.height)


def view_names(files: Sequence[Path], layer: str, index: int) -> list[str]:
    """Return the names of the views of files, in order; files of one name in different folders get a number."""
    taken: set[str] = set()
    names = []
    for file in files:
        stem = f"{file.stem}.{re.sub(r'[^A-Za-z0-9_.]+', '_', layer)}-{index}"
        name, number = f"{stem}.png", 2
        while name in taken:
            name, number = f"{stem}-{number}.png", number + 1
        taken.add(name)
        names.append(name)
    return names


async def _measure(
    where: Deployment, model: str, units: Sequence[tuple[str, int]], pictures: Sequence[tuple[Path, Picture]], out: Path
) -> list[Measured]:
    async with connection(where, "subject") as one, connection(where, "exemplars") as other:
        subject, exemplars = SubjectClient(one), ExemplarsClient(other)
        revision = await _checked(subject, model, units)
        rows: list[Measured] = []
        for layer, index in units:
            threshold = await _threshold(exemplars, model, revision, Unit(layer, index))
            names = view_names([file for file, _ in pictures], layer, index)
            for (file, picture), name in zip(pictures, names, strict=True):
                # One picture a request: a request has a largest size, and people have large photographs.
                answer = await subject.measure(model, [picture], [Unit(layer, index)], Terms.within(_MEASURE_S))
                response = answer[0][0]
                unit = UnitName(model, layer, index)
                recipe = MaskRecipe.of(unit, response.activation, response.map, response.frame, threshold)
                _write_view(picture, recipe, out / name)
                rows.append(Measured(file, recipe, out / name))
        return rows


async def _checked(subject: SubjectClient, model: str, units: Sequence[tuple[str, int]]) -> str:
    """Return the revision of a subject that has these units."""
    info = await subject.info(model, Terms.within(_ASK_S))
    sizes = {layer.name: layer.units for layer in info.layers}
    for layer, index in units:
        check_units(model, {layer: [index]}, sizes)
    return info.revision


async def _threshold(exemplars: ExemplarsClient, model: str, revision: str, unit: Unit) -> float | None:
    """The level of a unit's masks over the dataset; None where nobody has passed over one."""
    try:
        return await exemplars.threshold(model, revision, unit, Terms.within(_ASK_S))
    except NotFoundError:
        return None


def _write_view(picture: Picture, recipe: MaskRecipe, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode_png(darken(decode(picture.data), recipe.mask(picture.width, picture.height))))


def show(console: Console, rows: Sequence[Measured], out: Path) -> None:
    """Print one row per picture and unit."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("picture", overflow="fold")
    table.add_column("unit", no_wrap=True)
    table.add_column("activation", justify="right")
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
