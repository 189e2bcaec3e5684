"""Where there is no engine, the error says so, and what mends it."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from maia.sandbox.errors import TierUnavailableError
from maia.sandbox.host.tiers.docker.engine import Engine
from maia.sandbox.host.tiers.docker.tier import DockerTier


def error_at(address: str, monkeypatch: pytest.MonkeyPatch) -> TierUnavailableError:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(TierUnavailableError) as caught:
        Engine("docker", None)
    return caught.value


def test_no_engine_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = error_at(f"unix://{tmp_path}/docker.sock", monkeypatch)
    assert (error.tier, error.errno) == ("docker", errno.ENOENT)
    assert "apt-get install docker.io" in error.remedy


def test_an_engine_has_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(path)
    error = error_at(f"unix://{path}", monkeypatch)
    assert error.errno == errno.ECONNREFUSED
    assert "systemctl start docker" in error.remedy


def test_an_engine_may_not_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def deny(*_: object) -> None:
        raise denied

    monkeypatch.setattr(socket.socket, "connect", deny)  # root may use every engine
    error = error_at(f"unix://{tmp_path}/docker.sock", monkeypatch)
    assert error.errno == errno.EACCES
    assert "usermod -aG docker" in error.remedy


def test_an_engine_elsewhere_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert error_at(f"tcp://127.0.0.1:{port}", monkeypatch).errno == errno.ECONNREFUSED


async def test_a_tier_that_cannot_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    tier = DockerTier("runsc")
    with pytest.raises(TierUnavailableError, match="the tier gvisor is not available here"):
        await tier.start(tmp_path)
    await tier.close()
