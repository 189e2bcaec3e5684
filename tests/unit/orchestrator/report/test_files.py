"""Files are written whole, and what a kill has left of one goes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from maia.orchestrator.report.files import write_whole


def part(folder: Path, name: str, age_s: float) -> Path:
    file = folder / name
    file.write_text("half")
    os.utime(file, (time.time() - age_s,) * 2)
    return file


def test_what_a_killed_process_has_left_of_a_file_goes_when_it_is_written_again(tmp_path: Path) -> None:
    stale = part(tmp_path, ".description.txt.ab12.part", 7200)
    at_work = part(tmp_path, ".description.txt.cd34.part", 60)
    others = part(tmp_path, ".label.txt.ef56.part", 7200)
    write_whole(tmp_path / "description.txt", "Circles.")
    assert (tmp_path / "description.txt").read_text() == "Circles."
    assert not stale.exists()
    assert at_work.exists()
    assert others.exists()
