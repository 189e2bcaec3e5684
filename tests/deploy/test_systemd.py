"""The units: systemd understands them, and they take what they do not need."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

UNITS: Final = Path(__file__).parents[2] / "deploy/systemd"
NAMES: Final = ("maia@.service", "maia-sandbox.service")


def lines(name: str) -> set[str]:
    return set((UNITS / name).read_text().splitlines())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
@pytest.mark.parametrize("name", NAMES)
def test_systemd_takes_a_unit(name: str, tmp_path: Path) -> None:
    # It looks whether the program is there.
    text = (UNITS / name).read_text().replace("/opt/maia/bin/python", sys.executable)
    (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_runs_without_capabilities_and_as_nobody_of_importance(name: str) -> None:
    found = lines(name)
    assert {"CapabilityBoundingSet=", "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes"} <= found
    assert not {"User=root", "PrivateUsers=no"} & found
    assert any(line.startswith("User=maia") for line in found)


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_credentials(name: str) -> None:
    found = lines(name)
    assert sum(line.startswith("LoadCredential=") for line in found) == 3
    (start,) = (line for line in found if line.startswith("ExecStart="))
    assert start.count("${CREDENTIALS_DIRECTORY}") == 3
    assert "/etc/maia/tls" not in start


def test_the_sandbox_host_reaches_nobody_and_may_make_jails() -> None:
    found = lines("maia-sandbox.service")
    assert "IPAddressDeny=any" in found
    assert not any(line.startswith(("RestrictNamespaces=", "SystemCallFilter=", "ProtectHostname=")) for line in found)


def test_users_of_the_units_are_made() -> None:
    users = (UNITS / "maia.sysusers").read_text()
    for name in NAMES:
        (user,) = (line.removeprefix("User=") for line in lines(name) if line.startswith("User="))
        assert f"\nu {user} " in users
