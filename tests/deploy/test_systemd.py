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
def test_a_unit_has_its_pair_and_takes_a_renewed_one(name: str) -> None:
    """A credential of systemd's would stay what it was at the start, until it expires under a running server."""
    settings = [line.partition("=") for line in (UNITS / name).read_text().splitlines()]
    (folder,) = (f"/run/{value}" for key, _, value in settings if key == "RuntimeDirectory")
    (start,) = (value.split() for key, _, value in settings if key == "ExecStart")
    (user,) = (value for key, _, value in settings if key == "User")
    copied = {value for key, _, value in settings if key in ("ExecStartPre", "ExecReload")}
    (copy,) = (command.split() for command in copied)  # the same at the start and at a reload, by root
    assert copy[:7] == ["+/usr/bin/install", "-o", user, "-m", "0400", "-t", folder]
    given = [start[start.index(flag) + 1] for flag in ("--tls-client-ca", "--tls-key", "--tls-cert")]
    # In this order: who sees the new certificate sees its key.
    assert copy[7:] == [file.replace(folder, "/etc/maia/tls") for file in given]
    assert "RuntimeDirectoryMode=0700" in lines(name)


def test_the_sandbox_host_reaches_nobody_and_may_make_jails() -> None:
    found = lines("maia-sandbox.service")
    assert "IPAddressDeny=any" in found
    assert not any(line.startswith(("RestrictNamespaces=", "ProtectHostname=")) for line in found)
    (refused,) = (line.removeprefix("SystemCallFilter=~").split() for line in found if line.startswith("SystemCallF"))
    assert {"@debug", "@keyring", "bpf", "userfaultfd"} <= set(refused)
    assert not {"@mount", "@privileged", "@process"} & set(refused)


def test_a_session_may_end_before_its_host_does() -> None:
    found = lines("maia-sandbox.service")
    (environment,) = (line for line in found if line.startswith("Environment="))
    (drain,) = (word.partition("=")[2] for word in environment.split() if word.startswith("MAIA_SANDBOX_DRAIN_S="))
    (stop,) = (line.partition("=")[2] for line in found if line.startswith("TimeoutStopSec="))
    assert 60 < int(drain) < int(stop)


def test_users_of_the_units_are_made() -> None:
    users = (UNITS / "maia.sysusers").read_text()
    for name in NAMES:
        (user,) = (line.removeprefix("User=") for line in lines(name) if line.startswith("User="))
        assert f"\nu {user} " in users
