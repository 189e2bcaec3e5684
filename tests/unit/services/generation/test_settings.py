"""Settings of the servers that make pictures, and which backend they choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maia.services._runtime.metrics import Metrics
from maia.services._runtime.model_thread import ModelThread
from maia.services._runtime.picture_settings import PictureSettings
from maia.services.editing import hosting as editing
from maia.services.editing.settings import EditingSettings
from maia.services.generation import hosting as generation
from maia.services.generation.settings import GenerationSettings
from maia.wire.errors import InvalidRequestError, PreconditionError
from maia.wire.settings import load_settings

KINDS: list[tuple[type[PictureSettings], str]] = [(GenerationSettings, "generation"), (EditingSettings, "editing")]


def load(
    *arguments: str, kind: type[PictureSettings] = GenerationSettings, name: str = "generation"
) -> PictureSettings:
    return load_settings(kind, name, arguments, program="x")


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_flags_reach_the_pipeline(kind: type[PictureSettings], name: str) -> None:
    told = [
        *("--backend", "diffusers", "--model", "a/b", "--steps", "4", "--guidance", "0", "--width", "512"),
        *("--dtype", "float16", "--offload", "model", "--quantisation", "torchao-int8", "--offline"),
        *("--model-dir", "/models", "--gguf", "/x.gguf", "--variant", "fp16", "--revision", "main"),
    ]
    options = load(*told, kind=kind, name=name).diffusion
    assert (options.model, options.steps, options.guidance, options.width, options.height) == ("a/b", 4, 0.0, 512, None)
    assert (options.dtype, options.offload, options.quantisation, options.offline) == (
        "float16",
        "model",
        "torchao-int8",
        True,
    )
    assert (options.model_dir, options.gguf) == (Path("/models"), Path("/x.gguf"))
    assert (options.variant, options.revision) == ("fp16", "main")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("steps", "0"),
        ("steps", "-1"),
        ("steps", "2.5"),
        ("guidance", "nan"),
        ("guidance", "inf"),
        ("guidance", "-0.5"),
        ("width", "0"),
        ("height", "100000"),
        ("dtype", "int8"),
        ("backend", "magic"),
        ("offload", "disk"),
        ("quantisation", "3bit"),
        ("results-mb", "-1"),
        ("parallel", "0"),
    ],
)
def test_a_wrong_number_is_refused_by_name(flag: str, value: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        load(f"--{flag}", value)
    assert caught.value.reason == "SETTING_INVALID"
    assert flag.replace("-", "_") in caught.value.message


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_help_names_every_setting(kind: type[PictureSettings], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load("--help", kind=kind, name=name)
    told = " ".join(capsys.readouterr().out.split())
    for field, info in kind.model_fields.items():
        assert f"--{field.replace('_', '-')}" in told
        assert info.description
    assert "KEY" not in told


async def test_a_backend_without_its_model_or_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ModelThread("test") as thread:
        cases: list[tuple[dict[str, Any], str]] = [
            ({"backend": "diffusers"}, "MODEL_UNNAMED"),
            ({"backend": "openai"}, "MODEL_UNNAMED"),
            ({"backend": "openai", "model": "image-9"}, "KEY_MISSING"),
        ]
        for settings, reason in cases:
            for called in (
                generation.host(GenerationSettings(**settings), thread, Metrics()),
                editing.host(EditingSettings(**settings), thread, Metrics()),
            ):
                with pytest.raises(PreconditionError) as caught:
                    await called.__aenter__()
                assert caught.value.reason == reason
        for settings, told in (
            ({"model": "x"}, "--model"),
            ({"width": 64}, "--width"),
            ({"backend": "openai", "model": "x", "steps": 4}, "--steps"),
            ({"backend": "diffusers", "model": "x", "base_url": "http://x"}, "--base-url"),
        ):
            with pytest.raises(InvalidRequestError, match=told) as refused:
                await generation.host(GenerationSettings(**settings), thread, Metrics()).__aenter__()
            assert refused.value.reason == "SETTING_INVALID"


def test_results_of_large_models_are_kept_and_scenes_only_if_asked(tmp_path: Path) -> None:
    for arguments, limit in (
        ((), 0),
        (("--backend", "diffusers"), 2048_000_000),
        (("--results-mb", "5"), 5_000_000),
        (("--backend", "openai", "--results-mb", "0"), 0),
    ):
        assert load(*arguments, "--results", str(tmp_path)).open_results()._limit == limit


def test_results_are_below_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert load().results == tmp_path / "maia" / "results"
