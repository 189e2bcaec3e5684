"""The index for programs."""

import csv
import json
from pathlib import Path

from maia.orchestrator.events import UnitName
from maia.orchestrator.report import UnitResult
from maia.orchestrator.report.index import write_index

UNIT = UnitName("m", "layer3", 12)


def test_every_unit_is_a_row_and_an_object(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "m" / "layer3" / "12"
    concluded = UnitResult(
        folder,
        UNIT,
        "a",
        "concluded",
        labels=("red, and round", "=HYPERLINK(1)"),
        description='It says "red".\nAlways.',
        truth="red",
        matched=False,
        rounds=3,
        usage={"input": 5, "output": 2},
        usd=0.25,
    )
    failed = UnitResult(folder, UNIT, "=cmd", "paused", reason="@SERVER: down")
    write_index(tmp_path, [concluded, failed])
    first, second = csv.DictReader((tmp_path / "index.csv").read_text().splitlines(keepends=True))
    assert first["labels"] == "red, and round; =HYPERLINK(1)"
    assert first["description"] == 'It says "red".\nAlways.'
    assert (first["unit"], first["matched"], first["tokens"], first["usd"]) == ("12", "False", "7", "0.25")
    assert first["folder"] == "a/m/layer3/12"
    assert (second["agent"], second["reason"], second["status"]) == ("'=cmd", "'@SERVER: down", "paused")
    one, other = json.loads((tmp_path / "index.json").read_text())
    assert one["unit"] == {"model": "m", "layer": "layer3", "index": 12}
    assert one["labels"] == ["red, and round", "=HYPERLINK(1)"]
    assert other["agent"] == "=cmd"
