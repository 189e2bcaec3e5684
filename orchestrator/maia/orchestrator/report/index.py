"""Writes the index over all units, and brings the derived files of many units up to date."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import UnitName
from maia.orchestrator.journal import FILE_NAME, IMAGES
from maia.orchestrator.report.files import write_whole
from maia.orchestrator.report.page import index_page
from maia.orchestrator.report.results import Canonical, UnitResult
from maia.orchestrator.report.tables import CSV, JSON, csv_of, json_of
from maia.orchestrator.report.unit import PAGE, derive, unchanged

INDEX: Final = "index.html"

Progress = Callable[[int, int, UnitResult], None]
"""Called after each unit with how many are done, how many there are, and the unit's result."""


def unit_folders(out: Path) -> list[Path]:
    """Return the folders under `out` that hold a journal, in the order of their names with numbers as numbers."""
    return sorted(_walk(out), key=lambda folder: [_natural(part) for part in folder.relative_to(out).parts])


def rebuild(
    out: Path,
    truth_of: Callable[[UnitName], str | None],
    progress: Progress | None = None,
    canonical: Canonical | None = None,
) -> list[UnitResult]:
    """Write the derived files of all units whose journal or truth changed, and the index.

    A unit whose journal cannot be read becomes a result of status "unreadable"; the others are written all the same.

    Args:
        out: The results folder.
        truth_of: What a unit is known to be, or None.
        progress: Is told after each unit.
        canonical: As of `write_unit`.

    Returns:
        One result a unit, in the order of the folders.

    Raises:
        JournalError: The disk refuses, or a folder with an unreadable journal is not named as a unit's is.
    """
    folders = unit_folders(out)
    results: list[UnitResult] = []
    for folder in folders:
        results.append(_fresh(out, folder, truth_of, canonical))
        if progress:
            progress(len(results), len(folders), results[-1])
    write_index(out, results)
    return results


def write_index(out: Path, results: Sequence[UnitResult]) -> Path:
    """Write index.html, index.csv and index.json over units that lie under `out`.

    Returns:
        The path of index.html.

    Raises:
        JournalError: The disk refuses.
        ValueError: A unit's folder does not lie under `out`.
    """
    page = index_page([(result, _link(out, result.folder)) for result in results], PAGE)
    path = out / INDEX
    for name, text in ((INDEX, page), (CSV, csv_of(out, results)), (JSON, json_of(out, results))):
        write_whole(out / name, text)
    return path


def _fresh(
    out: Path, folder: Path, truth_of: Callable[[UnitName], str | None], canonical: Canonical | None
) -> UnitResult:
    stored = unchanged(folder)
    if stored is not None and stored.truth == truth_of(stored.unit):
        return stored
    try:
        return derive(folder, truth_of, canonical)
    except JournalError as error:
        unit, agent = _named(out, folder)
        return UnitResult(
            folder=folder, unit=unit, agent=agent, status="unreadable", truth=truth_of(unit), reason=error.message
        )


def _named(out: Path, folder: Path) -> tuple[UnitName, str]:
    """Return unit and agent by the layout <agent>/<model>/<layer>/<unit>."""
    parts = folder.relative_to(out).parts
    if len(parts) < 4 or not parts[-1].isdecimal():
        raise JournalError(
            f"{folder} is not named <agent>/<model>/<layer>/<unit number> under {out}; move it out of there"
        )
    return UnitName(model=parts[-3], layer=parts[-2], index=int(parts[-1])), "/".join(parts[:-3])


def _walk(out: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(out):
        if FILE_NAME in files:
            yield Path(name)
        folders[:] = [folder for folder in folders if folder != IMAGES and not folder.startswith(".")]


def _natural(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdecimal() else (1, 0, part)


def _link(out: Path, folder: Path) -> str:
    return quote(folder.relative_to(out).as_posix())
