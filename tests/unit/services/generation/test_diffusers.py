"""Text-to-image pipelines with random weights, loaded from disk by the real loader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.services.runtime.pictures import ROUNDING, after, distance, never, pixels, record
from tests.unit.services.runtime.tiny_pipelines import GENERATORS, renamed, saved, sd, strict_sd

from maia.services._runtime.diffusion.options import DiffusionOptions
from maia.services._runtime.diffusion.running import WITHHELD
from maia.services._runtime.results import MadePicture
from maia.services.generation.backends.diffusers import DiffusersGenerator
from maia.services.generation.model import Wish
from maia.wire.errors import CancelledError, InternalError

# The libraries' own deprecation warnings, at imports and in schedulers.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

STEPS = 3
WISHES = [
    Wish("a red apple", 7),
    Wish("a photo of three blue birds on a wire, under a cloudy sky", 2**64 - 1),
    Wish("a red apple", 8),
    Wish("striped fabric", 7),
]

Opened = Callable[[str], DiffusersGenerator]


def opened_at(folder: Path) -> DiffusersGenerator:
    return DiffusersGenerator(DiffusionOptions(str(folder), steps=STEPS, width=32, height=32))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Saves and loads a pipeline once."""
    loaded: dict[str, DiffusersGenerator] = {}

    def open_(name: str) -> DiffusersGenerator:
        if name not in loaded:
            loaded[name] = opened_at(saved(GENERATORS[name], tmp_path_factory.mktemp(name) / "model"))
        return loaded[name]

    return open_


@pytest.mark.parametrize("name", GENERATORS)
def test_a_picture_is_the_same_alone_and_among_neighbours(opened: Opened, name: str) -> None:
    generator = opened(name)
    together = generator.draw(WISHES, never)
    for wish, made in zip(WISHES, together, strict=True):
        (alone,) = generator.draw([wish], never)
        assert distance(made, alone) <= ROUNDING
        assert pixels(made).shape == (32, 32, 3)
    assert distance(together[0], together[2]) > 10 * ROUNDING  # another seed
    assert len({generator.key(wish) for wish in WISHES}) == 1


@pytest.mark.parametrize("name", GENERATORS)
def test_the_prompt_has_a_say(opened: Opened, name: str) -> None:
    (apple,), (fabric,) = (opened(name).draw([WISHES[number]], never) for number in (0, 3))
    assert distance(apple, fabric) > 0


@pytest.mark.parametrize("name", GENERATORS)
def test_a_run_that_nobody_waits_for_stops_between_steps(
    opened: Opened, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = opened(name)
    pipeline: Any = generator._runner.loaded.pipeline
    (before,) = generator.draw(WISHES[:1], never)
    calls: list[tuple[str, Any]] = []
    with monkeypatch.context() as patch:
        record(patch, pipeline.scheduler, "step", calls)
        record(patch, pipeline.vae, "decode", calls)
        with pytest.raises(CancelledError):
            generator.draw(WISHES[:1], after(2))  # asked before the run, after step 1, after step 2
        assert [name for name, _ in calls] == ["step", "step"]
        calls.clear()
        with pytest.raises(CancelledError):
            generator.draw(WISHES[:1], after(0))
        assert calls == []
        generator.draw(WISHES[:1], never)
        assert [name for name, _ in calls].count("decode") == 1
    assert distance(generator.draw(WISHES[:1], never)[0], before) == 0


def test_the_safety_checkers_verdict_is_told(tmp_path: Path, opened: Opened) -> None:
    for made in opened_at(saved(strict_sd, tmp_path)).draw(WISHES[:2], never):
        assert isinstance(made, MadePicture)
        assert WITHHELD in made.warnings
        assert not pixels(made).any()
    for made in opened("sd").draw(WISHES[:2], never):
        assert isinstance(made, MadePicture)
        assert not made.warnings
        assert pixels(made).any()


def test_what_of_a_prompt_is_not_read_is_told(opened: Opened) -> None:
    long = Wish("many words " * 20, 1)
    for name in ("sd", "sdxl"):
        short, cut = opened(name).draw([WISHES[0], long], never)
        assert isinstance(short, MadePicture)
        assert isinstance(cut, MadePicture)
        assert not short.warnings
        assert "the first 77" in " ".join(cut.warnings)
    (read,) = opened("flux").draw([long], never)  # its second text encoder reads 512 tokens
    assert isinstance(read, MadePicture)
    assert not read.warnings


def test_a_picture_without_colours_is_an_error_and_its_neighbours_are_none(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = opened("flux")
    pipeline: Any = generator._runner.loaded.pipeline
    decode = pipeline.vae.decode

    def broken(latents: object, **kwargs: object) -> object:
        (image,) = decode(latents, **kwargs)
        image[1] = float("nan")
        return (image,)

    monkeypatch.setattr(pipeline.vae, "decode", broken)
    first, second = generator.draw(WISHES[:2], never)
    assert isinstance(second, InternalError)
    assert second.reason == "PICTURE_NOT_FINITE"
    assert np.isfinite(pixels(first)).all()


def test_the_revision_tells_apart_what_may_draw_differently(tmp_path: Path) -> None:
    folder = saved(sd, tmp_path / "one")
    options = DiffusionOptions(str(folder), steps=STEPS, width=32, height=32)
    variations = [
        options,
        DiffusionOptions(str(folder), steps=STEPS + 1, width=32, height=32),
        DiffusionOptions(str(folder), steps=STEPS, width=32, height=40),
        DiffusionOptions(str(folder), steps=STEPS, width=32, height=32, guidance=2.0),
        DiffusionOptions(str(folder), steps=STEPS, width=32, height=32, dtype="bfloat16"),
    ]
    revisions = [DiffusersGenerator(one).info.revision for one in variations]
    assert len(set(revisions)) == len(variations)
    assert DiffusersGenerator(options).info.revision == revisions[0]
    weights = next(folder.glob("unet/*.safetensors"))
    weights.write_bytes(weights.read_bytes())
    assert DiffusersGenerator(options).info.revision != revisions[0]


def test_a_class_outside_the_table_runs_with_its_own_defaults(tmp_path: Path) -> None:
    folder = renamed(saved(sd, tmp_path), "StableDiffusionPAGPipeline")
    generator = DiffusersGenerator(DiffusionOptions(str(folder), steps=2))
    assert (generator.info.width, generator.info.height) == (32, 32)  # sample_size × the VAE's factor
    assert pixels(generator.draw(WISHES[:1], never)[0]).shape == (32, 32, 3)
    assert "num_inference_steps" in generator._runner._arguments([], (32, 32), never)
    assert "guidance_scale" not in generator._runner._arguments([], (32, 32), never)
