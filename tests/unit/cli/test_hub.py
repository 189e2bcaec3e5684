"""Whether there is a token for the hub, and who needs it; it is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from maia.cli.config import load_config
from maia.cli.hub import hub_rows

SECRET = "hf_verysecret"


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without settings, and nobody logged in."""
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "MAIA_CONFIG", "MAIA_SUBJECT_MODEL"):
        monkeypatch.delenv(name, raising=False)


async def told() -> list[tuple[str, str]]:
    return [(row.mark, row.detail) for row in await hub_rows(load_config({}))]


async def test_without_a_token_the_gated_families_are_named() -> None:
    [(mark, detail)] = await told()
    assert mark == "note"
    assert detail.startswith("HF_TOKEN is not set; the hub wants it for gated models")
    assert all(name in detail for name in ("FLUX.1-", "stable-diffusion-3", "facebook/dinov3-"))


@pytest.mark.parametrize("kept", [False, True])
async def test_a_token_is_known_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    if kept:
        (tmp_path / "token").write_text(SECRET)
    else:
        monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("MAIA_SUBJECT_MODEL", "transformers:facebook/dinov3-x")
    [(mark, detail)] = await told()
    assert mark == "good"
    assert ("hf auth login" in detail) is kept
    assert SECRET not in detail


async def test_what_cannot_be_read_is_no_token(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    [(mark, _)] = await told()
    assert mark == "note"


async def test_models_of_the_settings_that_need_it_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "MAIA_SUBJECT_MODEL", "scenes-cnn,transformers:facebook/dinov2-small,transformers:facebook/sam3-x"
    )
    (tmp_path / "maia.toml").write_text(
        """
        [generation]
        backend = "diffusers"
        model = "black-forest-labs/FLUX.1-dev"
        [editing]
        backend = "openai"
        model = "black-forest-labs/FLUX.1-Kontext-dev"
        [description]
        backend = "transformers"
        model = "google/gemma-3-4b-it"
        """
    )
    _, *needed = await told()
    assert [detail.partition(":")[0] for _, detail in needed] == [
        "the subject server needs HF_TOKEN to download facebook/sam3-x",
        "the generation server needs HF_TOKEN to download black-forest-labs/FLUX.1-dev",
        "the description server needs HF_TOKEN to download google/gemma-3-4b-it",
    ]
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in needed[1][1]
    (tmp_path / "models" / "black-forest-labs" / "FLUX.1-dev").mkdir(parents=True)
    monkeypatch.setenv("MAIA_GENERATION_MODEL_DIR", "models")
    monkeypatch.setenv("MAIA_SUBJECT_OFFLINE", "true")
    assert [detail.split()[1] for _, detail in (await told())[1:]] == ["description"]


async def test_settings_that_no_server_takes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIA_SUBJECT_PRECISION", "int3")
    _, (mark, detail) = await told()
    assert mark == "note"
    assert "settings of the subject server: precision" in detail
