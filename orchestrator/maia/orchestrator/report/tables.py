"""The index over all units for programs: one row a unit as CSV, and everything that is known as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from maia.orchestrator.report.results import UnitResult

CSV: Final = "index.csv"
JSON: Final = "index.json"

_COLUMNS: Final = (
    *("agent", "task", "question", "model", "layer", "unit", "status", "labels", "description", "truth", "matched"),
    *("rounds", "tool_calls", "pictures", "tokens", "usd", "seconds", "reason", "folder"),
)
_FORMULA: Final = tuple("=+-@\t\r")
_results: Final[TypeAdapter[UnitResult]] = TypeAdapter(UnitResult)


def csv_of(out: Path, results: Sequence[UnitResult]) -> str:
    """Return the rows, with a head; a text that a spreadsheet would take for a formula begins with an apostrophe.

    Args:
        out: Folder of the results; folders of units are given relative to it.
        results: One a unit.
    """
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows([_cell(value) for value in _row(out, result)] for result in results)
    return file.getvalue()


def json_of(out: Path, results: Sequence[UnitResult]) -> str:
    """Return a list of the content of every `result.json`, folders relative to `out`."""
    stored: list[dict[str, Any]] = [
        _results.dump_python(result, mode="json") | {"folder": _relative(out, result)} for result in results
    ]
    return json.dumps(stored, ensure_ascii=False, indent=1) + "\n"


def _row(out: Path, result: UnitResult) -> tuple[object, ...]:
    unit = result.unit
    return (
        *(result.agent, result.task, result.question, unit.model, unit.layer, unit.index, result.status),
        *("; ".join(result.labels), result.description, result.truth, result.matched),
        *(result.rounds, result.tool_calls, result.pictures, result.tokens, result.usd, result.seconds),
        *(result.reason, _relative(out, result)),
    )


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _relative(out: Path, result: UnitResult) -> str:
    return result.folder.relative_to(out).as_posix()
