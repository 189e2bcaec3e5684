"""The page as Chromium shows it: its own policy lets its style and pictures through, and it fits a phone."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.services.interchange.sheets.test_sheets import COLOURS, measured

from maia.services.interchange.sheets.page import sheet_html
from maia.services.interchange.sheets.sheet import sheet_of
from maia.wire.pictures import Rgb

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars"
)


def seen(folder: Path, width: int, *flags: str) -> Rgb:
    page = folder / "sheet.html"
    page.write_text(sheet_html(sheet_of(measured(folder / "store"), 0)), encoding="utf-8")
    shot = folder / "shot.png"
    command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", f"--screenshot={shot}"]
    subprocess.run(
        [*command, f"--window-size={width},1500", *flags, page.as_uri()], check=True, capture_output=True, timeout=120
    )
    return np.asarray(Image.open(io.BytesIO(shot.read_bytes())).convert("RGB"))


def boxes(rgb: Rgb, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of where a colour is; WebP may have changed it a little."""
    own = np.abs(rgb.astype(int) - colour).max(axis=2) <= 4
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    return columns[0], columns[-1], rows[0], rows[-1]


def test_light_and_wide_the_cards_stand_side_by_side(tmp_path: Path) -> None:
    rgb = seen(tmp_path, 1200)
    assert rgb[5, 5].tolist() == [252, 251, 248]
    first, second = boxes(rgb, COLOURS[2]), boxes(rgb, COLOURS[0])
    assert first[1] < second[0]
    assert first[2] == second[2]
    assert (np.abs(rgb.astype(int) - (127, 166, 171)).max(axis=2) <= 2).sum() > 500  # the bars


def test_dark_and_narrow_they_stand_below_each_other_and_fit(tmp_path: Path) -> None:
    rgb = seen(tmp_path, 500, "--blink-settings=preferredColorScheme=0")
    assert rgb[5, 5].tolist() == [21, 24, 27]
    first, second = boxes(rgb, COLOURS[2]), boxes(rgb, COLOURS[0])
    assert first[3] < second[2]
    assert first[1] - first[0] > 400  # original and masked view, which its upper half lights
    assert first[1] < 500
