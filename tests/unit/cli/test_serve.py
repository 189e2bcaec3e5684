"""What `maia serve` starts, and where that listens."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maia.cli.main import main

Started = list[str]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Started:
    """The arguments of the program that took this one's place."""
    taken: Started = []

    def execve(_path: str, arguments: list[str], _environment: dict[str, str]) -> None:
        taken.extend(arguments[1:])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MAIA_")]:
        monkeypatch.delenv(name)
    return taken


def serve(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(["serve", *arguments]))
    assert ended.value.code == 0


def test_it_listens_where_commands_look_for_it(started: Started) -> None:
    serve("subject", "--model", "scenes-cnn")
    assert started == ["-m", "maia.services.subject", "--listen", "127.0.0.1:7411", "--model", "scenes-cnn"]


def test_the_file_here_is_the_servers_too(started: Started) -> None:
    Path("maia.toml").write_text('subject_address = "127.0.0.1:7999"\n')
    serve("subject")
    assert started[2:] == ["--config", "maia.toml", "--listen", "127.0.0.1:7999"]


@pytest.mark.parametrize("flag", [["--config", "lab.toml"], ["--config=lab.toml"]])
def test_where_its_own_table_has_it_listen_wins(started: Started, flag: list[str]) -> None:
    Path("lab.toml").write_text('[subject]\nlisten = "127.0.0.1:7500"\n')
    serve("subject", *flag)
    assert started[2:] == flag
    started.clear()
    serve("generation", *flag)
    assert started[2:] == ["--listen", "127.0.0.1:7412", *flag]


def test_a_flag_and_a_variable_win(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    serve("sandbox", "--listen=127.0.0.1:1")
    assert started[2:] == ["--listen=127.0.0.1:1"]
    started.clear()
    monkeypatch.setenv("MAIA_SANDBOX_LISTEN", "127.0.0.1:2")
    serve("sandbox")
    assert started[2:] == []


@pytest.mark.parametrize(
    ("server", "keys"), [("sandbox", set()), ("subject", set()), ("description", {"OPENAI_API_KEY"})]
)
def test_only_who_asks_vendors_gets_their_keys_and_nobody_a_clients_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str, keys: set[str]
) -> None:
    secrets = {"OPENAI_API_KEY": "key", "MAIA_TOKEN": "token"}
    seen: dict[str, str] = {}

    def execve(_path: str, _arguments: list[str], environment: dict[str, str]) -> None:
        seen.update(environment)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.chdir(tmp_path)
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    serve(server)
    assert secrets.keys() & seen.keys() == keys
    assert seen["PATH"] == os.environ["PATH"]
