"""`maia certs` and `maia token` as commands, and the settings of those who connect with what they made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maia.cli.config import environment_without_keys, load_config
from maia.cli.errors import CommandError
from maia.cli.main import main
from maia.wire.errors import InvalidRequestError
from maia.wire.tokens import read_principals


def test_certs_makes_a_folder_and_says_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "certs"
    assert main(["certs", str(folder), "--host", "subject=gpu1.lab,10.0.0.5", "--client", "alice"]) == 0
    said = capsys.readouterr().out
    assert "subject.pem" in said
    assert "gpu1.lab" in said
    assert (folder / "alice.pem").exists()
    assert main(["certs", str(folder)]) == 0
    assert "new" not in capsys.readouterr().out.replace("renew", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "gpu1.lab"], "expected NAME=HOST"),
        (["--host", "subject="], "expected NAME=HOST"),
        (["--days", "20"], "renew certificates of --days 20 every time"),
    ],
)
def test_certs_refuses_what_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["certs", str(tmp_path / "certs"), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "certs").exists()


def test_token_writes_it_once_and_prints_it_never(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokens, out = tmp_path / "tokens.toml", tmp_path / "alice.token"
    command = [
        "token",
        "alice",
        "--scopes",
        "subject,editing",
        "--tokens",
        str(tokens),
        "--out",
        str(out),
        "--days",
        "9",
    ]
    assert main(command) == 0
    said = capsys.readouterr()
    assert out.read_text().strip() not in said.out + said.err
    alice = read_principals(tokens)["alice"]
    assert alice.scopes == ("subject", "editing")
    assert alice.expires is not None
    assert main(command) == 2
    assert "entry for alice already" in capsys.readouterr().err
    assert main(["token", "bob", "--scopes", "subjects", "--tokens", str(tokens), "--out", str(tmp_path / "b")]) == 2
    assert "no scope 'subjects'" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_settings_name_certificates_and_where_the_token_is(tmp_path: Path) -> None:
    environment = {
        "MAIA_TLS_CA": str(tmp_path / "ca.pem"),
        "MAIA_TLS_CERT": str(tmp_path / "me.pem"),
        "MAIA_TLS_KEY": str(tmp_path / "me-key.pem"),
        "MAIA_TOKEN": "maia_secret",
    }
    config = load_config({}, environment)
    credentials = config.credentials
    assert credentials is not None
    assert credentials.encrypts
    assert credentials.token is not None
    assert credentials.token.read() == "maia_secret"
    assert "maia_secret" not in json.dumps(config.public()) + repr(config)
    assert "MAIA_TOKEN" not in environment_without_keys(environment)
    assert load_config({}, {}).credentials is None


def test_some_files_of_tls_are_not_enough() -> None:
    with pytest.raises(InvalidRequestError, match="tls_cert and tls_key are missing"):
        load_config({"tls_ca": Path("ca.pem")}, {})


def test_a_token_does_not_belong_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "maia.toml").write_text('token = "maia_secret"')
    with pytest.raises(CommandError, match="set MAIA_TOKEN") as caught:
        load_config({"config": tmp_path / "maia.toml"}, {})
    assert "maia_secret" not in str(caught.value)


def test_a_sandbox_host_elsewhere_takes_certificates(tmp_path: Path) -> None:
    away = {"sandbox_address": "192.0.2.1:7416"}
    with pytest.raises(InvalidRequestError, match="maia certs"):
        load_config(away, {})
    files = {name: tmp_path / name for name in ("tls_ca", "tls_cert", "tls_key")}
    assert load_config({**away, **files}, {}).sandbox_address == "192.0.2.1:7416"
