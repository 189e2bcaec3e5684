from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from maia.services.exemplars.settings import ExemplarsSettings
from maia.services.subject.settings import SubjectSettings
from maia.wire.errors import InvalidRequestError
from maia.wire.server import ServerOptions
from maia.wire.settings import load_settings


def load(*arguments: str) -> SubjectSettings:
    return load_settings(SubjectSettings, "subject", arguments, program="x")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "maia.toml"
    path.write_text('[subject]\nlisten = "127.0.0.1:1"\nmodel = ["a", "b"]\ndrain_s = 1\n[other]\nx = 1\n')
    return path


def test_flags_win_over_environment_over_file_over_defaults(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().listen == "127.0.0.1:0"
    assert load("--config", str(config)).listen == "127.0.0.1:1"
    monkeypatch.setenv("MAIA_SUBJECT_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("MAIA_CONFIG", str(config))
    assert load().listen == "127.0.0.1:2"
    assert load("--listen", "127.0.0.1:3").listen == "127.0.0.1:3"
    assert load().model == ("a", "b")
    assert load().drain_s == 1.0


def test_names_may_be_listed_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("--model", "scene-neurons, scenes-cnn").model == ("scene-neurons", "scenes-cnn")
    monkeypatch.setenv("MAIA_SUBJECT_MODEL", "x")
    assert load().model == ("x",)


def test_switches_and_options() -> None:
    settings = load("--announce", "--end-with-stdin", "--drain-s", "2.5", "--listen", "unix:/tmp/x")
    options = ServerOptions("unix:/tmp/x", 2.5, announce=True, end_with_stdin=True)
    assert replace(settings.options, access=options.access) == options
    assert settings.options.access.certificates == frozenset(
        {"orchestrator"}
    )  # whose certificates may call, where there are any


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load().listen = "elsewhere"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--drain-s", "x"), "drain_s"), (("--drain-s", "-1"), "drain_s"), (("--log-level", "loud"), "log_level")],
)
def test_a_wrong_value_is_named(arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told) as caught:
        load(*arguments)
    assert "\n" not in caught.value.message
    assert arguments[1] in caught.value.message


@pytest.mark.parametrize("text", ["[subject]\nlisten_to = 1\n", "subject = 3", "[subject", ""])
def test_a_wrong_file_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "maia.toml"
    if text:
        path.write_text(text)
    with pytest.raises(InvalidRequestError, match=r"listen_to|no table|no TOML|cannot be read"):
        load("--config", str(path))


def test_an_unknown_flag_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load("--mode", "x")
    assert caught.value.code == 2
    assert "--mode" in capsys.readouterr().err


def store(*arguments: str) -> Path:
    return load_settings(ExemplarsSettings, "exemplars", arguments, program="x").store


def test_the_store_is_below_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store() == tmp_path / "maia" / "exemplars"
    assert store("--store", "/x") == Path("/x")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert store() == tmp_path / ".cache" / "maia" / "exemplars"
