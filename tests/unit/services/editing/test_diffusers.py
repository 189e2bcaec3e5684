"""Editing pipelines with random weights, loaded from disk by the real loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.services.runtime.pictures import ROUNDING, after, distance, never, noise, pixels, record
from tests.unit.services.runtime.tiny_pipelines import EDITORS, saved, strict_pix2pix

from maia.services._runtime.diffusion.options import DiffusionOptions
from maia.services._runtime.diffusion.running import WITHHELD
from maia.services._runtime.results import MadePicture
from maia.services.editing.backends.diffusers import DiffusersEditor
from maia.services.editing.model import Edit
from maia.wire.errors import CancelledError
from maia.wire.pictures import encode_png

# The libraries' own deprecation warnings, at imports and in schedulers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

STEPS = 3


def edit(instruction: str, seed: int, picture: int, width: int = 64, height: int = 64) -> Edit:
    rgb = noise(picture, width, height)
    return Edit(encode_png(rgb), rgb, instruction, seed)


EDITS = [
    edit("make it green", 7, 1),
    edit("replace the dog with a very large cat", 2**64 - 1, 2, 70, 70),
    edit("make it green", 7, 2),
    edit("make it green", 8, 1),
]

Opened = Callable[[str], DiffusersEditor]


def opened_at(folder: Path) -> DiffusersEditor:
    return DiffusersEditor(DiffusionOptions(str(folder), steps=STEPS, width=32, height=32))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Saves and loads a pipeline once."""
    loaded: dict[str, DiffusersEditor] = {}

    def open_(name: str) -> DiffusersEditor:
        if name not in loaded:
            loaded[name] = opened_at(saved(EDITORS[name], tmp_path_factory.mktemp(name) / "model"))
        return loaded[name]

    return open_


@pytest.mark.parametrize("name", EDITORS)
def test_a_picture_is_the_same_alone_and_among_neighbours(opened: Opened, name: str) -> None:
    editor = opened(name)
    assert {editor.key((one.rgb.shape[1], one.rgb.shape[0])) for one in EDITS} == {(32, 32)}
    together = editor.edit(EDITS, never)
    # Qwen's look at a picture of a million pixels, however small the one that they make.
    for one, made in list(zip(EDITS, together, strict=True))[: 2 if "qwen" in name else None]:
        (alone,) = editor.edit([one], never)
        assert distance(made, alone) <= ROUNDING
        assert pixels(made).shape == (32, 32, 3)
    assert distance(together[0], together[2]) > 0  # another picture
    assert distance(together[0], together[3]) > 10 * ROUNDING  # another seed


@pytest.mark.parametrize("name", EDITORS)
def test_a_run_that_nobody_waits_for_stops_between_steps(
    opened: Opened, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = opened(name)
    pipeline: Any = editor._runner.loaded.pipeline
    calls: list[tuple[str, Any]] = []
    record(monkeypatch, pipeline.scheduler, "step", calls)
    record(monkeypatch, pipeline.vae, "decode", calls)
    with pytest.raises(CancelledError):
        editor.edit(EDITS[:1], after(2))  # asked before the run, after step 1, after step 2
    assert [name for name, _ in calls] == ["step", "step"]


def test_a_picture_keeps_its_shape_and_others_are_not_squeezed_into_it(opened: Opened) -> None:
    editor = opened("kontext")
    wide, high, square = edit("x", 1, 1, 120, 60), edit("x", 1, 1, 60, 120), edit("x", 1, 1, 60, 60)
    sizes = [editor.key((one.rgb.shape[1], one.rgb.shape[0])) for one in (wide, high, square)]
    assert sizes == [(48, 16), (16, 48), (32, 32)]  # √2 × 32 and 32 / √2, in multiples of 16
    for one, size in zip((wide, high, square), sizes, strict=True):
        (made,) = editor.edit([one], never)
        assert pixels(made).shape == (size[1], size[0], 3)


def test_a_picture_too_long_for_any_model_is_squeezed_and_that_is_said(opened: Opened) -> None:
    (made,) = opened("pix2pix").edit([edit("x", 1, 1, 400, 10)], never)
    assert isinstance(made, MadePicture)
    assert "400 × 10" in " ".join(made.warnings)
    (made,) = opened("pix2pix").edit([edit("x", 1, 1, 64, 64)], never)
    assert isinstance(made, MadePicture)
    assert not made.warnings


def test_the_picture_arrives_as_it_is(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = opened("pix2pix")
    pipeline: Any = editor._runner.loaded.pipeline
    calls: list[tuple[str, Any]] = []
    record(monkeypatch, pipeline.vae, "encode", calls)
    editor.edit([edit("x", 1, 5, 32, 32)], never)
    ((_, image),) = calls
    shown = ((np.asarray(image)[0].transpose(1, 2, 0) + 1) * 127.5).round()
    assert np.abs(shown - noise(5, 32, 32)).max() <= 1


def test_the_safety_checkers_verdict_is_told(tmp_path: Path) -> None:
    for made in opened_at(saved(strict_pix2pix, tmp_path)).edit(EDITS[:2], never):
        assert isinstance(made, MadePicture)
        assert WITHHELD in made.warnings
        assert not pixels(made).any()
