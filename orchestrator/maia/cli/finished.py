"""What an earlier run has left in a unit's folder: findings are kept, the rest makes room without being deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from maia.cli.results import canonical, truth_of
from maia.orchestrator.errors import JournalError, refused
from maia.orchestrator.events import UnitName
from maia.orchestrator.journal import FILE_NAME, locked
from maia.orchestrator.report import UnitResult, collect
from maia.orchestrator.report.unit import unchanged
from maia.orchestrator.tasks import Task

REPLACED: Final = ".replaced"
"""Folder under the results for what made room; reports leave hidden folders out."""

ENDED: Final = ("concluded", "no_conclusion")
"""Statuses of units that came to their end."""


def earlier_result(folder: Path, unit: UnitName, agent: str, task: Task) -> UnitResult | None:
    """Return the result of this very run, if it came to its end here; None if it did not, or if it is of another."""
    if not (folder / FILE_NAME).exists():
        return None
    result = _ended(folder, unit)
    same = result is not None and (result.unit, result.agent, result.task, result.question) == (
        unit,
        agent,
        task.name,
        task.question,
    )
    return result if same else None


def _ended(folder: Path, unit: UnitName) -> UnitResult | None:
    truth = truth_of(unit)
    stored = unchanged(folder)  # much quicker than reading a journal, for thousands of units
    if stored is not None and stored.truth == truth:
        return stored if stored.status in ENDED else None
    try:
        result = collect(folder, truth, canonical)
    except JournalError:
        return None
    return result if result.status in ENDED else None


def set_aside(out: Path, folder: Path) -> Path | None:
    """Move what is in a unit's folder to where it disturbs nobody.

    Returns:
        Where it is now; None if there was nothing.

    Raises:
        JournalError: Another process is writing there, or the folder cannot be moved.
    """
    if not (folder / FILE_NAME).exists():
        return None
    kept = out / REPLACED / folder.relative_to(out)
    with locked(folder):  # whatever stands in the journal; nobody begins in it meanwhile
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            number = 1
            while (target := kept.with_name(f"{kept.name}-{number}")).exists():
                number += 1
            return folder.rename(target)
        except OSError as error:
            raise refused(kept, error, f"make room for {out / REPLACED}, or use another --out") from error
