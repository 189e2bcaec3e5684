from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from maia.services.subject.backends.networks.options import NetworkOptions
from maia.services.subject.backends.networks.places import published_file, repository_file, repository_missing
from maia.wire.errors import PreconditionError

HONEST = f"net-{hashlib.sha256(b'weights').hexdigest()[:8]}.pth"
LYING = "net-00000000.pth"


@pytest.mark.parametrize("folder", ["", "checkpoints", "hub/checkpoints"])
def test_finds_a_single_file(folder: str, tmp_path: Path) -> None:
    path = tmp_path / folder / "net-0123abcd.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    options = NetworkOptions(model_dir=tmp_path, offline=True)
    assert published_file("https://example.org/x/net-0123abcd.pth?v=1", options) == path


@pytest.mark.parametrize("folder", ["owner/name", "owner--name", "name"])
def test_finds_a_plain_copy_of_a_repository(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "b.bin").touch()
    options = NetworkOptions(model_dir=tmp_path, offline=True)
    assert repository_file("owner/name", ("a.bin", "b.bin"), options) == tmp_path / folder / "b.bin"


@pytest.mark.parametrize("folder", ["", "hub"])
def test_finds_a_file_in_a_cache_of_the_hub(folder: str, tmp_path: Path) -> None:
    repository = tmp_path / folder / "models--owner--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("a" * 40)
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "b.bin").touch()
    options = NetworkOptions(model_dir=tmp_path, offline=True)
    assert repository_file("owner/name", ("a.bin", "b.bin"), options) == snapshot / "b.bin"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A web server with a file whose name carries the beginning of its SHA-256, and one whose name lies."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    (tmp_path / "web").mkdir()
    for name in (HONEST, LYING):
        (tmp_path / "web" / name).write_bytes(b"weights")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "web")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_downloads_into_the_model_folder_and_checks_the_hash(address: str, tmp_path: Path) -> None:
    options = NetworkOptions(model_dir=tmp_path / "models")
    found = published_file(f"{address}/{HONEST}", options)
    assert found == tmp_path / "models/checkpoints" / HONEST
    assert found.read_bytes() == b"weights"
    for wrong, why in ((LYING, "invalid hash"), ("absent.pth", "404")):
        with pytest.raises(PreconditionError, match=why) as caught:
            published_file(f"{address}/{wrong}", options)
        assert caught.value.reason == "MODEL_MISSING"
        assert not (tmp_path / "models/checkpoints" / wrong).exists()


def test_what_is_spelled_as_a_folder_is_missed_as_a_folder() -> None:
    error = repository_missing("/models/none", NetworkOptions(), "no such repository\nmore")
    assert str(error) == "there is no folder /models/none with a model that can be read (no such repository)"
