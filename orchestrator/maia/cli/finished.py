"""What an earlier run has left in a unit's folder: findings are kept, the rest makes room without being deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from maia.cli.results import canonical, truth_of
from maia.orchestrator.budget import Spending
from maia.orchestrator.errors import JournalError
from maia.orchestrator.events import UnitName
from maia.orchestrator.journal import FILE_NAME, JournalReader, JournalWriter
from maia.orchestrator.report import UnitResult, collect
from maia.orchestrator.report.unit import unchanged

REPLACED: Final = ".replaced"
"""Folder under the results for what made room; reports leave hidden folders out."""

ENDED: Final = ("concluded", "no_conclusion")
"""Statuses of units that came to their end."""


def earlier_result(folder: Path, unit: UnitName) -> UnitResult | None:
    """Return the result of a run that came to its end here, or None if none did."""
    if not (folder / FILE_NAME).exists():
        return None
    truth = truth_of(unit)
    stored = unchanged(folder)  # much quicker than reading a journal, for thousands of units
    if stored is not None and stored.truth == truth:
        return stored if stored.status in ENDED else None
    try:
        result = collect(folder, truth, canonical)
    except JournalError:
        return None
    return result if result.status in ENDED else None


def spent_before(folder: Path) -> Spending:
    """Return what an unfinished run has spent in a unit's folder."""
    if not (folder / FILE_NAME).exists():
        return Spending()
    try:
        return Spending.of(JournalReader(folder).events)
    except JournalError:
        return Spending()  # whoever goes on with it will say what is wrong


def set_aside(out: Path, folder: Path) -> Path | None:
    """Move what is in a unit's folder to where it disturbs nobody.

    Returns:
        Where it is now; None if there was nothing.

    Raises:
        JournalError: Another process is writing there.
    """
    if not (folder / FILE_NAME).exists():
        return None
    JournalWriter(folder).close()  # refuses while another process holds the journal
    kept = out / REPLACED / folder.relative_to(out)
    kept.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while (target := kept.with_name(f"{kept.name}-{number}")).exists():
        number += 1
    return folder.rename(target)
