"""Files that belong together, on a disk that has no room for the second."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from maia.wire.certificates import make_certificates
from maia.wire.errors import PreconditionError
from maia.wire.files import write_together
from maia.wire.tokens import add_principal


@pytest.fixture
def room_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    fsync = os.fsync

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)


def test_all_are_there_with_their_modes(tmp_path: Path) -> None:
    write_together({tmp_path / "key": (b"k", 0o600), tmp_path / "pem": (b"p", 0o644)})
    assert {path.name: (path.read_bytes(), path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "key": (b"k", 0o600),
        "pem": (b"p", 0o644),
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_replaces_stays_its_owners(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    add_principal(tokens, "alice", ["subject"], tmp_path / "alice.token")
    tokens.chmod(0o600)
    os.chown(tokens, 65534, 65533)
    add_principal(tokens, "bob", ["subject"], tmp_path / "bob.token")
    found = tokens.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65533, 0o600)
    assert (tmp_path / "bob.token").stat().st_uid == 0


def test_none_is_changed_where_one_has_no_room(tmp_path: Path, room_for_one: None) -> None:
    (tmp_path / "key").write_bytes(b"before")
    with pytest.raises(
        PreconditionError, match=r"pem cannot be written: No space left on device; it and what belongs to it"
    ):
        write_together({tmp_path / "key": (b"k", 0o600), tmp_path / "pem": (b"p", 0o644)})
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"before"


def test_a_full_disk_leaves_no_half_of_an_authority(tmp_path: Path, room_for_one: None) -> None:
    with pytest.raises(PreconditionError, match=r"ca\.pem cannot be written"):
        make_certificates(tmp_path / "certs", hosts={})
    assert list((tmp_path / "certs").iterdir()) == []


def test_a_full_disk_leaves_no_token_that_nobody_knows(tmp_path: Path, room_for_one: None) -> None:
    with pytest.raises(PreconditionError, match=r"tokens\.toml cannot be written"):
        add_principal(tmp_path / "tokens.toml", "alice", ["subject"], tmp_path / "alice.token")
    assert list(tmp_path.iterdir()) == []
